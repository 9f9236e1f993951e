"""How a round's model serves the groups: figures from the clients' counts, summed and by client."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from models.fairness.counts import UNKNOWN, GroupCounts
from models.fairness.information import decompose
from models.fairness.metrics import disparities, group_figures, name
from strategies.transport.exchange import Reply

Figures = Mapping[str, float | int | str | list[str] | None]

OF_CLIENTS = (
    "worst_group_accuracy",
    "es_accuracy",
    "es_auc",
    "demographic_parity_difference",
    "equal_opportunity_difference",
    "equalized_odds_difference",
    "equalized_odds_difference_mean",
)
"""What ``clients.csv`` tells of each client, for each group column."""

OF_GROUPS = ("accuracy", "auc", "tpr", "fpr")
"""What it tells of each of a client's groups, for columns of at most `MOST_GROUPS`."""
MOST_GROUPS = 20


@dataclass(frozen=True)
class Fairness:
    """What one evaluation says of the groups.

    A view is a group column, or several of them joined: ``sex``, ``race``, ``sex & race``.

    Attributes
    ----------
    groups : mapping
        By view and group, the group's own figures over all clients.
    views : mapping
        By view, the differences between its groups over all clients, and how local and global
        disparity come about (in bits).
    clients : mapping
        By client, on its examples alone: ``<figure>/<column>``, the same, and
        ``<figure>/<column>=<group>``, each group's own.
    counts : mapping
        By client, what all of this follows from.
    """

    groups: Mapping[str, Mapping[str, Figures]] = field(default_factory=dict)
    views: Mapping[str, Figures] = field(default_factory=dict)
    clients: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    counts: Mapping[str, GroupCounts] = field(default_factory=dict)


NO_GROUPS = Fairness()


def summarise_fairness(replies: Mapping[str, Reply]) -> Fairness:
    """Add up the clients' counts by group and derive every figure from the sums.

    Parameters
    ----------
    replies : mapping
        Evaluations by client, in roster order; those without counts are passed over.
    """
    counts = {
        client: GroupCounts.from_json(reply.notes["group_counts"])
        for client, reply in replies.items()
        if "group_counts" in reply.notes
    }
    whole = GroupCounts.sum(counts.values())
    if whole is None:
        return NO_GROUPS
    alike = {
        client: part
        for client, part in counts.items()
        if part.columns == whole.columns and part.classes == whole.classes
    }
    views = {name(view): view for view in whole.views()}
    few = {column for column in whole.columns if len(whole.by([column])) <= MOST_GROUPS}
    return Fairness(
        groups={
            key: {name(values): group_figures(cell) for values, cell in whole.by(view).items()}
            for key, view in views.items()
        },
        views={
            key: {**disparities(whole.by(view)), **_information(alike, view)}
            for key, view in views.items()
        },
        clients={client: _of_client(part, few) for client, part in alike.items()},
        counts=alike,
    )


def _of_client(counts: GroupCounts, few: Collection[str]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for column in counts.columns:
        groups = counts.by([column])
        figures = disparities(groups)
        for figure in OF_CLIENTS:
            value = figures[figure]
            found[f"{figure}/{column}"] = value if isinstance(value, float) else None
        for (group,), cell in groups.items() if column in few else ():
            own = group_figures(cell)
            found |= {f"{key}/{column}={group}": own[key] for key in OF_GROUPS if key in own}
    return found


def _information(clients: Mapping[str, GroupCounts], view: tuple[str, ...]) -> dict[str, float]:
    """Return the decomposition of local and global disparity, in bits."""
    by_client = [
        {values: cell.named for values, cell in part.by(view).items() if UNKNOWN not in values}
        for part in clients.values()
    ]
    groups = sorted({values for part in by_client for values in part})
    classes = next(iter(clients.values())).classes
    if classes < 2:
        return {}
    none = np.zeros(classes, dtype=np.int64)
    table = np.array([[part.get(values, none) for values in groups] for part in by_client])
    found = decompose(table) if groups else None
    if found is None:
        return {}
    return {
        "global_disparity": found.global_,
        "local_disparity": found.local,
        "unique_disparity": found.unique,
        "redundant_disparity": found.redundant,
        "masked_disparity": found.masked,
    }
