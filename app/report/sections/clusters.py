"""Which clusters a run made, written as the page's section on clusters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from app.report.clusters.record import NOWHERE, Clusters
from app.report.markup import Child, Html, element, join, table
from app.report.record import RunRecord, mean
from app.report.sections.pictures import Picture, shown
from app.report.wording import count, counted, number, percent

CLUSTER_PICTURES = ("clusters", "likeness")
"""Names of the pictures that belong to this section."""

_MOST_NAMED = 8


def clusters_section(record: RunRecord, pictures: Sequence[Picture]) -> Html | None:
    """Write the section; None where the run has no clusters.

    Parameters
    ----------
    record : RunRecord
    pictures : sequence of Picture
        All of the page's; those of this section are taken.
    """
    clusters = record.clusters
    if clusters is None:
        return None
    return join(
        element("h2", "Clusters"),
        element("p", clusters_in_words(record, clusters)),
        _table(record, clusters),
        *(shown(picture) for picture in pictures if picture.name in CLUSTER_PICTURES),
    )


def clusters_in_words(record: RunRecord, clusters: Clusters) -> str:
    """Say how many clusters there are, who moved, and how well they fit the truth."""
    moves = int(clusters.moves.sum())
    movers = int(clusters.moves.any(axis=1).sum())
    times = f"{counted(movers, 'client')} moved between clusters, {counted(moves, 'time')} in all"
    held = f"{counted(len(clusters.taken), 'cluster')} after round {clusters.last:,}"
    said = f"{held}; {times if moves else 'no client ever moved'}."
    purity, rand = (record.figure(f"cluster_{name}")[1] for name in ("purity", "ari"))
    if purity and rand:
        said += (
            f" Against the true concepts: purity {percent(purity[-1])}, "
            f"adjusted Rand index {number(rand[-1])}."
        )
    return said


def _table(record: RunRecord, clusters: Clusters) -> Html:
    reached = {row.client: row.after for row in record.clients}
    concepts = dict(zip(clusters.clients, clusters.concepts, strict=True))
    truth = any(clusters.concepts)
    rows: list[list[Child]] = []
    ends = [*clusters.taken, NOWHERE] if (clusters.final == NOWHERE).any() else clusters.taken
    for cluster in ends:
        members = clusters.members(cluster)
        known = [value for name in members if (value := reached.get(name)) is not None]
        found = Counter(concepts[name] or "unknown" for name in members)
        rows.append(
            [
                "none" if cluster == NOWHERE else str(cluster),
                _named(members),
                *(
                    [", ".join(f"{name}: {n:,}" for name, n in found.most_common())]
                    if truth
                    else []
                ),
                count(len(members)),
                percent(mean(known) if known else None),
                percent(min(known, default=None)),
            ]
        )
    head = ["Cluster", "Clients", *(["Concepts"] if truth else []), "Members", "Mean accuracy",
            "Worst client"]  # fmt: skip
    return table(head, rows, numeric_from=3 if truth else 2)


def _named(members: Sequence[str]) -> str:
    more = len(members) - _MOST_NAMED
    named = ", ".join(members[:_MOST_NAMED])
    return f"{named} and {more:,} more" if more > 0 else named
