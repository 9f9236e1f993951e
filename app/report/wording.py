"""Numbers and settings in words, the same in the page, the pictures, the table and the card."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping

from app.report.record import RunRecord, safe

UNKNOWN = "–"
_MINUS = "−"
_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_SPLITS: Mapping[str, str] = {
    "iid": "evenly at random",
    "dirichlet": "with Dirichlet-skewed labels",
    "inner-dirichlet": "with inner-Dirichlet-skewed labels",
    "pathological": "so that each client sees only a few labels",
    "shards": "by shards of sorted labels",
    "linear": "into sizes that grow linearly",
    "square": "into sizes that grow with the square",
    "exponential": "into sizes that grow exponentially",
}
_SHIFTS: Mapping[str, str] = {
    "rotation": "Groups of clients see rotated images.",
    "label-swap": "Two groups of clients have two labels each swapped in part of the rows.",
    "label-permutation": "Groups of clients have their labels permuted.",
}
_SIMULATED_CLIENT = re.compile(r"client-\d+\Z")


def percent(value: float | None, digits: int = 1) -> str:
    """Write a fraction as ``"91.3 %"``."""
    return UNKNOWN if value is None else f"{100 * value:.{digits}f} %"


def points(value: float | None) -> str:
    """Write a difference of fractions as percentage points: ``"+7.3 pp"``."""
    return UNKNOWN if value is None else f"{_signed(100 * value, 1)} pp"


def number(value: float | None, digits: int = 3) -> str:
    """Write a plain number, with a true minus sign."""
    return UNKNOWN if value is None else f"{value:.{digits}f}".replace("-", _MINUS)


def difference(value: float | None, digits: int = 3) -> str:
    """Write a difference with its sign."""
    return UNKNOWN if value is None else _signed(value, digits)


def count(value: int | None) -> str:
    """Write a whole number with thousands apart: ``"52,492"``."""
    return UNKNOWN if value is None else f"{value:,}"


def counted(value: int, noun: str) -> str:
    """Write ``"1 round"``, ``"10 rounds"``."""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def size(value: float | None) -> str:
    """Write a number of bytes in decimal units: ``"3.41 MB"``."""
    if value is None:
        return UNKNOWN
    for unit, name in _SIZES:
        if value >= unit:
            digits = ".3g" if value < 999.5 * unit else ",.0f"
            return f"{value / unit:{digits}} {name}"
    return f"{value:,.0f} B"


def size_unit(largest: float) -> tuple[float, str]:
    """Return the unit in which an axis up to `largest` bytes reads best, and its name."""
    return next(((unit, name) for unit, name in _SIZES if largest >= unit), (1.0, "B"))


def duration(seconds: float) -> str:
    """Write seconds as people say them: ``"42.0 s"``, ``"3 min 05 s"``, ``"2 h 10 min"``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def arguments(value: object) -> str:
    """Write a method's arguments, whether they came as text or as a table."""
    if isinstance(value, Mapping):
        return ", ".join(f"{safe(str(k))}={safe(str(v))}" for k, v in value.items())
    return safe(str(value or "")).strip()


def method_in_words(record: RunRecord) -> str:
    """Say in sentences how the model was trained."""
    method = _with_arguments(record, "strategy", "a method that was not recorded")
    adapter = _with_arguments(record, "adapter", "an adapter")
    model = record.text("model", "a model")
    asked = max((line.asked for line in record.rounds), default=0)
    total = record.size
    trained = max((line.number for line in record.rounds), default=0)
    length = f" for {counted(trained, 'round')}" if trained else ""
    sentences = [f"{method}, fine-tuning {model} through {adapter}{length}."]
    if asked and total:
        same = all(line.asked == asked for line in record.rounds if line.number)
        cohort = "All" if asked >= total else f"{asked:,} of {total:,}"
        cohort = cohort if same else f"Up to {asked:,} of {total:,}"
        sentences.append(f"{cohort} clients were asked each round.")
    steps, epochs = _whole(record, "local-steps"), _whole(record, "local-epochs")
    amount = counted(steps, "local step") if steps else counted(epochs, "local epoch")
    if steps or epochs:
        sentences.append(
            f"Each client trained {amount} with {record.text('optimizer', 'its optimizer')}, "
            f"learning rate {record.text('learning-rate', UNKNOWN)}, "
            f"batches of {record.text('batch-size', UNKNOWN)}."
        )
    objective = _with_arguments(record, "objective", "")
    if objective:
        sentences.append(f"Local objective: {objective}.")
    if record.text("seed"):
        sentences.append(f"Seed {record.text('seed')}.")
    return " ".join(sentences)


def data_in_words(record: RunRecord) -> str:
    """Say in sentences whose data it was and how it was spread."""
    total = record.size
    examples = [c.examples for c in record.clients if c.examples is not None]
    sentences = [
        f"{record.text('dataset', 'a data set that was not recorded')}, {_spread(record, total)}."
    ]
    options = arguments(record.config.get("partition-args"))
    for shift, words in _SHIFTS.items():
        if shift in options:
            sentences.append(words)
    drift = _with_arguments(record, "drift", "")
    if drift not in ("", "none"):
        sentences.append(f"They drift over the rounds: {drift}.")
    if examples:
        low, high = min(examples), max(examples)
        each = f"{low:,}" if low == high else f"between {low:,} and {high:,}"
        sentences.append(f"{counted(sum(examples), 'training example')} in all, {each} a client.")
    if record.rounds and not record.series("accuracy")[0]:
        sentences.append("The server had no test set; the clients' own scores stand.")
    return " ".join(sentences)


def participation_in_words(record: RunRecord) -> str:
    """Say how often clients took part, and who was away longest; nothing where it is unknown."""
    known = record.participation
    if known is None:
        return ""
    rounds = counted(known.rounds, "round")
    if known.complete:
        return f"Every client took part in every one of {rounds}."
    times = known.times.tolist()
    least = min(times)
    said = f"The median client took part in {statistics.median(times):g} of {rounds}"
    sentences = [
        f"{said}, the least active, {known.clients[times.index(least)]}, in {least:,}."
        if least
        else f"{said}; {counted(times.count(0), 'client')} never did."
    ]
    absence = known.longest_absence()
    if absence is not None:
        when = f"rounds {absence.first:,} to {absence.last:,}"
        when = when if absence.length > 1 else f"round {absence.first:,}"
        whose = "" if least else " among the others"
        sentences.append(
            f"The longest absence{whose} was {counted(absence.length, 'round')}: "
            f"{absence.client}, {when}."
        )
    scenario = _with_arguments(record, "participation", "")
    if scenario not in ("", "always"):
        sentences.append(f"Scenario: {scenario}.")
    return " ".join(sentences)


def _spread(record: RunRecord, total: int) -> str:
    clients = counted(total, "client") if total else "the clients"
    kind = record.text("partition")
    options = arguments(record.config.get("partition-args"))
    if kind in ("natural-id", "natural"):
        return f"held by {clients}, one for each value of a column ({options or kind})"
    if kind == "folders":
        return f"held by {clients}, one folder each"
    if not all(_SIMULATED_CLIENT.match(row.client) for row in record.clients):
        return f"held by {clients}, each with data of its own"
    how = _SPLITS.get(kind, f"by {kind}" if kind else "")
    return " ".join(filter(None, (f"split over {clients}", how, f"({options})" if options else "")))


def _whole(record: RunRecord, key: str) -> int:
    value = record.config.get(key)
    return value if isinstance(value, int) else 0


def _with_arguments(record: RunRecord, key: str, default: str) -> str:
    options = arguments(record.config.get(f"{key}-args"))
    name = record.text(key, default)
    return f"{name} ({options})" if options and name else name


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    if float(text) == 0:
        return text[1:]
    return text.replace("-", _MINUS)
