"""What a run tells of its groups, written as the page's section on fairness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from app.report.markup import Child, Html, element, join, table
from app.report.record import View, Views
from app.report.sections.pictures import Picture, shown
from app.report.wording import number, percent
from models.fairness.counts import UNKNOWN as NO_GROUP
from models.fairness.counts import GroupCounts

PICTURES = ("groups", "fairness", "disparity", "frontier")
"""Names of the pictures that belong to this section."""


_ROWS: Sequence[tuple[str, str, bool]] = (
    ("auc", "AUC", True),
    ("es_auc", "Equity-scaled AUC", True),
    ("es_accuracy", "Equity-scaled accuracy", True),
    ("worst_group_accuracy", "Accuracy of the worst group", True),
    ("accuracy_gap", "Accuracy: best minus worst", True),
    ("demographic_parity_difference", "Demographic-parity difference", True),
    ("equal_opportunity_difference", "Equal-opportunity difference", True),
    ("equalized_odds_difference", "Equalised-odds difference, worst case", True),
    ("equalized_odds_difference_mean", "Equalised-odds difference, mean", True),
    ("global_disparity", "Global disparity, bits", False),
    ("local_disparity", "Local disparity, bits", False),
    ("unique_disparity", "Unique (in both), bits", False),
    ("redundant_disparity", "Redundant (global only), bits", False),
    ("masked_disparity", "Masked (local only), bits", False),
)


_WORDS = (
    "Over all clients' test examples. A difference is that between the best and the worst served "
    "group; 0 is alike. Demographic parity compares how often the model says the second label, "
    "equal opportunity how often it finds it (true-positive rate), equalised odds that and how "
    "often it says it wrongly; of more labels it is the one that differs most. An equity-scaled "
    "figure is the whole's, divided by 1 + the sum of the groups' distances from it. Disparity "
    "in bits is what the answer tells of the group: in the whole, and inside clients."
)


def fairness_section(before: Views, after: Views, pictures: Sequence[Picture]) -> Html | None:
    """Write the section; None where the run knows no groups.

    Parameters
    ----------
    before, after : mapping
        By view, at round 0 and at the newest evaluation.
    pictures : sequence of Picture
        All of the page's; those of this section are taken.
    """
    own = [shown(picture) for picture in pictures if picture.name in PICTURES]
    newest = after or before
    if not newest and not own:
        return None
    compared = any("global_disparity" in view.figures for view in newest.values())
    return join(
        element("h2", "Fairness"),
        element("p", _WORDS, class_="muted") if compared else None,
        *(_view(name, before.get(name), view) for name, view in newest.items()),
        *own,
    )


def _view(name: str, before: View | None, view: View) -> Html | None:
    rows: list[list[Child]] = []
    for key, label, share in _ROWS:
        old, new = (v.figures.get(key) if v is not None else None for v in (before, view))
        if old is not None or new is not None:
            write = percent if share else _bits
            rows.append([label, write(old), write(new)])
    if not rows:
        return None
    words = f"Least accurate group: {view.worst}. " if view.worst else ""
    if view.undefined:
        words += f"Too small to say, and left out: {', '.join(view.undefined)}. "
    nameless = round(view.figures.get("unknown_examples", 0))
    if nameless:
        words += f"Left out too: {nameless:,} examples whose group is unknown."
    return join(
        element("h3", f"By {name}"),
        element("p", words, class_="muted") if words else None,
        table(["", "Before", "After"], rows, numeric_from=1),
    )


def _bits(value: float | None) -> str:
    return number(value, 4)


def joint_counts(
    clients: Mapping[str, GroupCounts], column: str
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]] | None:
    """Return counts of a binary task by client, known group, class and answer.

    Returns
    -------
    ndarray, shape (clients, groups, 2, 2)
    tuple of str
        The groups.
    None
        With other than two classes, or fewer than two known groups.
    """
    by_client = [counts.by([column]) for counts in clients.values()]
    groups = sorted({value for cells in by_client for (value,) in cells} - {NO_GROUP})
    if len(groups) < 2 or any(counts.classes != 2 for counts in clients.values()):
        return None
    table_ = np.zeros((len(by_client), len(groups), 2, 2), dtype=np.int64)
    for s, cells in enumerate(by_client):
        for z, group in enumerate(groups):
            cell = cells.get((group,))
            if cell is not None:
                wrong = cell.true - cell.hits
                table_[s, z] = [[cell.hits[0], wrong[0]], [wrong[1], cell.hits[1]]]
    return table_, tuple(groups)
