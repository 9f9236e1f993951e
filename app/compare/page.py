"""``comparison.html``: one file, read without having seen the runs."""

from __future__ import annotations

from collections.abc import Sequence

from app.compare.comparison import Comparison, findings
from app.compare.outcomes import Measure
from app.compare.statistics import Pair
from app.compare.tables import written
from app.report.markup import Child, Html, element, join, table
from app.report.page import document
from app.report.sections.pictures import Picture, shown
from app.report.wording import UNKNOWN, counted, percent, points


def build_page(comparison: Comparison, pictures: Sequence[Picture]) -> str:
    """Return the whole page as text."""
    seeds = ", ".join(str(seed) for seed in comparison.seeds)
    return document(
        f"{comparison.name}: methods compared",
        element("h1", f"{comparison.name}: {counted(len(comparison.rows), 'method')} compared"),
        element(
            "p",
            "Federated fine-tuning with Bouquet. The same clients and the same partition for every "
            f"method; training with seeds {seeds or 'none yet'}.{_scene(comparison)}",
            class_="muted",
        ),
        _missing(comparison),
        element("h2", "What came out"),
        element("ul", *(element("li", line) for line in findings(comparison))),
        _methods(comparison),
        element("h2", "Scores"),
        _scores(comparison),
        _explained(comparison),
        *(shown(picture) for picture in pictures),
        _pairs(comparison),
        _settings(comparison),
        element(
            "footer",
            "The numbers are in ", element("code", "comparison.csv"), ", ",
            element("code", "runs.csv"), " and ", element("code", "comparison.json"),
            " beside this page, the pictures as PDF and SVG in ", element("code", "plots/"),
            ", each run with its own report in ", element("code", "runs/"), ". Made by Bouquet.",
        ),
    )  # fmt: skip


def _scene(comparison: Comparison) -> str:
    """Say on what data and model, as far as it is known."""
    told, said = comparison.settings, ""
    clients = max((len(one.clients) for one in comparison.outcomes), default=0)
    if "dataset" in told:
        said += f" Data: {told['dataset']}"
        said += f", over {counted(clients, 'client')}" if clients else ""
        said += f" (partition {told['partition']})." if "partition" in told else "."
    if "model" in told:
        adapter = f" with a {told['adapter']} adapter" if "adapter" in told else ""
        said += f" Model: {told['model']}{adapter}."
    return said


def _methods(comparison: Comparison) -> Html | None:
    if not comparison.meanings:
        return None
    rows: list[list[Child]] = [
        [one.method, one.about, "; ".join(one.papers)] for one in comparison.meanings
    ]
    built = table(["Method", "What it does", "Paper"], rows, numeric_from=3)
    return join(element("h2", "Methods"), built)


def _missing(comparison: Comparison) -> Html | None:
    if not comparison.missing:
        return None
    words = element("strong", f"{counted(len(comparison.missing), 'run')} not finished. ")
    return element("p", words, "; ".join(comparison.missing), class_="alert")


def _scores(comparison: Comparison) -> Html:
    head = ["Method", "Seeds", *(measure.label for measure in comparison.measures)]
    best = {measure.key: _best(comparison, measure) for measure in comparison.measures}
    rows: list[list[Child]] = []
    for row in comparison.rows:
        cells: list[Child] = [row.method, len(row.seeds)]
        for measure in comparison.measures:
            found = row.scores.get(measure.key)
            text = written(found, measure)
            first = found is not None and found.mean == best[measure.key]
            cells.append(element("strong", text) if first else text)
        rows.append(cells)
    return table(head, rows, numeric_from=1)


def _best(comparison: Comparison, measure: Measure) -> float | None:
    """Return the best mean of a measure; None where all are equal, and of time."""
    means = {row.scores[measure.key].mean for row in comparison.rows if measure.key in row.scores}
    if len(means) < 2 or measure.key == "seconds":
        return None
    return max(means, key=lambda mean: measure.better * mean)


def _explained(comparison: Comparison) -> Html:
    said = [
        "± is half of a 95 % interval over seeds (Student's t, which makes it very wide with two). "
        "Bold: the largest mean, or for costs the least. Gain over local: a client's accuracy "
        "minus that of the same client alone, mean over clients. Worst decile: the tenth of the "
        "clients that fare worst. The bytes of local are what its clients leave with the server; "
        "nobody else gets them."
    ]
    if comparison.target is not None:
        said.append(
            f"Bytes to target: what was moved until the clients' mean accuracy reached "
            f"{percent(comparison.target)}, over the seeds that reached it."
        )
    said.append("Time depends on the machine and on what else it did.")
    return element("p", " ".join(said), class_="muted")


def _pairs(comparison: Comparison) -> Html | None:
    if not comparison.pairs:
        return None
    rows = [_pair(pair) for pair in comparison.pairs]
    head = ["Methods", "Difference", "p, adjusted", "Clients better", "p over clients"]
    words = (
        "Mean accuracy over clients, first minus second, within a seed. p: paired t-test over "
        "seeds (sign test where all agree), adjusted by Holm; seeds change training and not the "
        "partition. Clients better: how many have more with the first; the last column is "
        "Wilcoxon's signed-rank test over them, which says nothing of other seeds."
    )
    return join(
        element("h2", "Pairs"),
        element("p", words, class_="muted"),
        table(head, rows, numeric_from=1),
    )


def _pair(pair: Pair) -> list[Child]:
    half = pair.difference.half
    spread = "" if half is None else f" ± {100 * half:.1f}"
    return [
        f"{pair.one} - {pair.other}",
        points(pair.difference.mean) + spread,
        _p(pair.p_value),
        percent(pair.clients_better, 0),
        _p(pair.clients_p_value),
    ]


def _p(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _settings(comparison: Comparison) -> Html:
    rows: list[list[Child]] = [[key, str(value)] for key, value in comparison.settings.items()]
    built = table(["Setting", "Value"], rows, numeric_from=2, class_="config")
    summary = element(
        "summary", f"What all methods had, the rest as it is by default ({len(rows)})"
    )
    return join(element("h2", "Scenario"), element("details", summary, built, open=""))
