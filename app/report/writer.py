"""Writing the report: every picture once as a file and once inside the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure

from app.report.page import build_page
from app.report.plots import style
from app.report.plots.clients import client_figure
from app.report.plots.cluster_map import cluster_map, cluster_map_caption
from app.report.plots.cluster_tree import likeness_figure, likeness_words
from app.report.plots.curves import communication_figure, learning_figure
from app.report.plots.disparity import disparity_figure, frontier_figure
from app.report.plots.fairness import fairness_figure
from app.report.plots.gain import gain_figure, gain_words
from app.report.plots.groups import group_figure
from app.report.plots.labels.accuracy import class_figure, class_words
from app.report.plots.labels.distribution import label_figure
from app.report.plots.method import method_figure, method_words
from app.report.plots.participation import participation_caption, participation_figure
from app.report.plots.prototypes import prototype_figure, prototype_words
from app.report.plots.replies import replies_figure
from app.report.reading import read_run
from app.report.record import RunRecord
from app.report.scores import fedavg_bytes, score_after, scores, totals
from app.report.sections.clock import clock_pictures
from app.report.sections.clusters import clusters_in_words
from app.report.sections.pictures import Picture
from app.report.wording import counted, participation_in_words, percent, size
from models.files import write_bytes


def write_report(run_dir: Path) -> Path:
    """Write ``plots/*.png`` and a self-contained ``report.html`` into a run directory.

    Parameters
    ----------
    run_dir : Path
        The run directory; what it does not hold yet is left out or said to be missing.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    RunDirectoryError
        The folder is no run directory, or one of its files cannot be understood.
    """
    record = read_run(run_dir)
    pictures = []
    for name, figure, description, caption in _figures(record):
        path = run_dir / "plots" / f"{name}.png"
        style.save(figure, path)
        pictures.append(Picture(name, path.read_bytes(), description, caption))
    page = run_dir / "report.html"
    write_bytes(page, build_page(record, pictures).encode("utf-8"))
    return page


def _figures(record: RunRecord) -> Iterator[tuple[str, Figure, str, str]]:
    """Yield file name, figure, description for those who cannot see it, and caption."""
    spent = totals(record)
    reached = "; ".join(f"{row.label} {percent(row.after)}" for row in scores(record)
                        if row.unit == "percent" and row.after is not None)  # fmt: skip
    yield (
        "learning",
        learning_figure(record),
        f"Learning curves over {counted(spent.rounds, 'round')}. {reached}",
        "Round 0 is the base model before any training. The shaded band runs from the mean client "
        "down to the worst decile.",
    )
    mean = percent(score_after(record, "client_accuracy_mean"))
    yield (
        "clients",
        client_figure(record),
        f"Accuracy of each client before and after; mean after {mean}",
        "Each client is scored on its own held-out examples, with the model that it would use.",
    )
    gain = gain_figure(record)
    if gain is not None:
        yield ("gain", gain, *gain_words(record))
    shared = len(record.label_counts)
    missing = record.size - shared
    told = f"{counted(missing, 'client')} of {record.size:,} did not share label counts."
    if not record.writes_texts:
        yield (
            "labels",
            label_figure(record.label_counts, record.labels),
            f"Heat map of the labels that {counted(shared, 'client')} hold",
            told if shared and missing > 0 else "",
        )
    by_class = class_figure(record.classes, record.labels)
    if by_class is not None:
        yield ("classes", by_class, *class_words(record.classes))
    yield (
        "communication",
        communication_figure(record),
        f"Bytes per round: {size(spent.bytes_up)} up and {size(spent.bytes_down)} down in all",
        f"As the server counted them, round 0 included. {against_fedavg(record)}".rstrip(),
    )
    yield from clock_pictures(record)
    groups = group_figure(record)
    if groups is not None:
        yield (
            "groups",
            groups,
            "Accuracy by group, before and after",
            "Groups pool the clients' held-out examples; small groups are uncertain.",
        )
    yield from _clusters(record)
    yield from _fairness(record)
    method = method_figure(record)
    if method is not None:
        yield ("method", method, *method_words(record))
    prototypes = prototype_figure(record)
    if prototypes is not None:
        yield ("prototypes", prototypes, *prototype_words(record))
    participation = record.participation
    raster = participation_figure(participation) if participation is not None else None
    if participation is not None and raster is not None:
        yield (
            "participation",
            raster,
            f"Who took part when, clients by rounds. {participation_in_words(record)}",
            participation_caption(participation),
        )
    replies = replies_figure(record)
    if replies is not None:
        yield (
            "replies",
            replies,
            f"Replies not used; {spent.rejected:,} refused",
            "A refused reply costs only its own client's entry; the round goes on without it.",
        )


def against_fedavg(record: RunRecord) -> str:
    """Say what averaging the whole adapter would have moved, where that is another number."""
    other, spent = fedavg_bytes(record), totals(record)
    moved = spent.bytes_up + spent.bytes_down
    if other is None or not moved or moved == other:
        return ""
    times = other / moved
    share = f"{times:,.1f} times as much" if times >= 1 else f"{percent(times, 0)} of it"
    return f"FedAvg of the same adapter would have moved {size(other)}, {share}."


def _clusters(record: RunRecord) -> Iterator[tuple[str, Figure, str, str]]:
    """Yield what the section on clusters shows."""
    clusters = record.clusters
    if clusters is None:
        return
    words = f"Who is in which cluster, clients by rounds. {clusters_in_words(record, clusters)}"
    yield ("clusters", cluster_map(clusters), words, cluster_map_caption(clusters))
    likeness = likeness_figure(clusters)
    if likeness is not None:
        yield ("likeness", likeness, *likeness_words(clusters))


def _fairness(record: RunRecord) -> Iterator[tuple[str, Figure, str, str]]:
    """Yield what the section on fairness shows beside accuracy by group."""
    rates = fairness_figure(record, record.group_columns)
    if rates is not None:
        yield (
            "fairness",
            rates,
            "Accuracy, AUC, true- and false-positive rate of each group, with intervals",
            "Lines are 95 % intervals: Wilson's for shares, Hanley and McNeil's for AUC. Positive "
            "is the second label.",
        )
    plane = disparity_figure(record)
    if plane is not None:
        yield (
            "disparity",
            plane,
            "Local against global disparity by round, and what they consist of",
            "Information in bits between the group Z and what the model says, in the whole and "
            "inside clients S. On the dashed line both are equal.",
        )
    frontier = frontier_figure(record.counts, record.group_columns)
    if frontier is not None:
        yield (
            "frontier",
            frontier,
            "The best accuracy under limits on local and global disparity, and this model",
            "For the clients' own shares of groups and classes; a line that stays flat says that "
            "this kind of fairness costs nothing.",
        )
