"""``report.html``: one file that says everything about a run and asks nothing of the network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from app.report.client_table import client_table, side
from app.report.gains import SHARED, comparisons
from app.report.markup import Child, Html, element, escape, join, table
from app.report.page_style import STYLE
from app.report.record import Finding, RunRecord, safe
from app.report.scores import (
    Score,
    baseline_words,
    fedavg_bytes,
    headline,
    score_after,
    scores,
    totals,
)  # fmt: skip
from app.report.sections.clock import CLOCK_PICTURES, clock_section
from app.report.sections.clusters import CLUSTER_PICTURES, clusters_section
from app.report.sections.fairness import PICTURES, fairness_section
from app.report.sections.pictures import Picture, shown
from app.report.sections.samples import SAMPLES, read_samples, samples_section
from app.report.wording import (
    UNKNOWN,
    arguments,
    count,
    counted,
    data_in_words,
    difference,
    duration,
    method_in_words,
    number,
    participation_in_words,
    percent,
    points,
    size,
)  # fmt: skip

_MOST_LISTED = 500
_LOWER = frozenset({"loss", "perplexity", "client_perplexity_mean"})
_IN_SECTIONS = frozenset({*PICTURES, *CLOCK_PICTURES, *CLUSTER_PICTURES})
# The browser itself then keeps the page from loading or running anything.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, *children: Child) -> str:
    """Return a page that asks nothing of the network, as text."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        element("title", f"{title} · Bouquet"),
        element("style", Html(STYLE)),
    )
    body = element("body", element("main", *children))
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"


def build_page(record: RunRecord, pictures: Sequence[Picture]) -> str:
    """Return the whole page as text."""
    return document(
        record.name,
        _top(record),
        _tiles(record),
        _scores(record),
        element("h2", "Pictures"),
        *(shown(picture) for picture in pictures if picture.name not in _IN_SECTIONS),
        samples_section(read_samples(record.directory / SAMPLES)),
        clock_section(record, pictures),
        clusters_section(record, pictures),
        fairness_section(*record.fairness, pictures),
        client_table(record),
        _refused(record),
        _remarks(record),
        _configuration(record),
        _foot(record),
    )


def _top(record: RunRecord) -> Html:
    state = safe(str(record.status.get("state", "")))
    message = safe(str(record.status.get("message", "")))
    alert = None
    if state and state != "finished":
        ends = {"failed": "This run failed.", "stopped": "This run was stopped."}
        words = ends.get(state, f"This run is not over ({state}).")
        alert = element("p", element("strong", words), " ", message, class_="alert")
    took_part = participation_in_words(record)
    return join(
        element("h1", record.name),
        element("p", "Federated fine-tuning with Bouquet", class_="muted"),
        alert,
        element("p", element("strong", "Method. "), method_in_words(record)),
        element("p", element("strong", "Data. "), data_in_words(record)),
        element("p", element("strong", "Participation. "), took_part) if took_part else None,
    )


def _tiles(record: RunRecord) -> Html:
    known = {score.key: score for score in scores(record)}
    spent = totals(record)
    tiles: list[Html] = []
    for key, name in (
        ("accuracy", "Server accuracy"),
        ("client_accuracy_mean", "Mean client"),
        ("client_accuracy_median", "Median client"),
        ("client_accuracy_worst_decile", "Worst decile"),
        ("client_accuracy_worst", "Worst client"),
    ):
        score = known.get(key)
        if score is not None and score.after is not None:
            tiles.append(_tile(name, percent(score.after), _gain(score, " over base")))
    personal = next((c for c in comparisons(record) if c.name == SHARED), None)
    if personal is not None:
        gain = personal.mean_gain
        value = element("span", points(gain), class_=side(gain))
        tiles.append(_tile("Personalisation", value, "client mean, over the shared model"))
    tiles += [_tile_over(record, name) for name in record.baselines]
    moved = f"{size(spent.bytes_up)} up, {size(spent.bytes_down)} down"
    tiles.append(_tile("Bytes moved", size(spent.bytes_up + spent.bytes_down), moved))
    tiles += _tile_against_fedavg(record, spent.bytes_up + spent.bytes_down)
    each = f"{counted(spent.rounds, 'round')}"
    if spent.rounds:
        each += f", {duration(spent.seconds / spent.rounds)} each"
    tiles.append(_tile("Time", duration(spent.seconds), each))
    refused = counted(spent.rejected, "refusal") if spent.rejected else "none refused"
    tiles.append(_tile("Clients", count(record.size), refused))
    return element("div", *tiles, class_="tiles")


def _tile(name: str, value: Child, note: Child) -> Html:
    return element(
        "div",
        element("div", name, class_="name"),
        element("div", value, class_="value"),
        element("div", note, class_="note"),
        class_="tile",
    )


def _tile_against_fedavg(record: RunRecord, moved: int) -> list[Html]:
    """Compare with the bytes of averaging the whole adapter, where they are others."""
    other = fedavg_bytes(record)
    if not other or not moved or moved == other:
        return []
    share = moved / other
    value = element("span", percent(share), class_="good" if share < 1 else "bad")
    return [_tile("Of FedAvg's bytes", value, f"{size(other)} for the whole adapter")]


def _tile_over(record: RunRecord, baseline: str) -> Html:
    """Compare with one baseline on the score that both sides know."""
    other = record.baselines[baseline]
    choices = (headline(record), "client_accuracy_mean")
    key = next((k for k in choices if score_after(other, k) is not None), choices[-1])
    own, reached = score_after(record, key), score_after(other, key)
    gain = None if own is None or reached is None else own - reached
    where = "server" if key == "accuracy" else "client mean"
    value = element("span", points(gain), class_=side(gain)) if gain is not None else UNKNOWN
    note = f"{where}, which reached {percent(reached)}"
    return element(
        "div",
        element("div", f"Over {baseline_words(baseline)}", class_="name"),
        element("div", value, class_="value"),
        element("div", note, class_="note"),
        class_="tile",
    )


def _gain(score: Score, after: str = "") -> Html:
    if score.change is None:
        return escape(UNKNOWN)
    text = points(score.change) if score.unit == "percent" else difference(score.change)
    # Less loss and perplexity are better; a spread is neither good nor bad by itself.
    better = -score.change if score.key in _LOWER else score.change
    look = "" if score.key == "client_accuracy_std" else side(better)
    return join(element("span", text, class_=look) if look else text, after)


def _scores(record: RunRecord) -> Html | None:
    rows = scores(record)
    if not rows:
        return None
    names = list(record.baselines)
    last = max((line.number for line in record.rounds), default=0)
    head = ["Score", "Before", f"After {counted(last, 'round')}", "Change"]
    body: list[list[Child]] = []
    for row in rows:
        write = percent if row.unit == "percent" else number
        others = [write(row.baselines.get(name)) for name in names]
        body.append([row.label, write(row.before), write(row.after), _gain(row), *others])
    return join(
        element("h2", "Scores"),
        table([*head, *(_capital(baseline_words(name)) for name in names)], body, numeric_from=1),
    )


def _refused(record: RunRecord) -> Html:
    title = element("h2", "Refused replies")
    if not record.rejected:
        return join(title, element("p", "No reply was refused.", class_="muted"))
    return join(title, _findings(record.rejected, "Reason"))


def _remarks(record: RunRecord) -> Html | None:
    if not record.remarks:
        return None
    words = "These count; something in them was cut or dropped, or is to be known."
    return join(
        element("h2", "Remarks about accepted replies"),
        element("p", words, class_="muted"),
        _findings(record.remarks, "About"),
    )


def _findings(entries: Sequence[Finding], what: str) -> Html:
    counts = Counter(entry.code for entry in entries).most_common()
    said = ", ".join(f"{code}: {times:,}" for code, times in counts)
    shown = entries[:_MOST_LISTED]
    rows: list[list[Child]] = [[e.client, e.code, e.detail, count(e.round)] for e in shown]
    more = None
    if len(shown) < len(entries):
        words = f"The first {len(shown):,} of {len(entries):,}; all are in metrics.jsonl."
        more = element("p", words, class_="muted")
    return join(
        element("p", said), more, table(["Client", what, "Detail", "Round"], rows, numeric_from=3)
    )


def _configuration(record: RunRecord) -> Html | None:
    if not record.config:
        return None
    rows: list[list[Child]] = [
        [key, arguments(value) if isinstance(value, Mapping) else _written(value)]
        for key, value in record.config.items()
    ]
    built = table(["Setting", "Value"], rows, numeric_from=2, class_="config")
    summary = element("summary", f"All {counted(len(rows), 'setting')}, as resolved")
    return join(element("h2", "Configuration"), element("details", summary, built, open=""))


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return '""' if value == "" else str(value)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _foot(record: RunRecord) -> Html:
    return element(
        "footer",
        "Before: the base model before any training. Worst decile: the tenth of the clients that "
        "fare worst. pp: percentage points. "
        "Staleness: rounds since a client's last answer. The numbers come from ",
        element("code", "metrics.jsonl"), " and ", element("code", "clients.csv"),
        " beside this page; ", element("code", "adapter/"),
        " holds the trained adapter in PEFT format. Made by Bouquet.",
    )  # fmt: skip
