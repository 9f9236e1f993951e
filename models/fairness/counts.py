"""What a client counts of each group: enough for every fairness figure, and nothing more.

Counts add up: the sum over clients is what one holder of all the examples would have counted, so
figures from the sums are exact. A cell is a value of every group column at once (Female and Black),
and a group of one column the sum of its cells.

Of the scores of a binary task a histogram is kept, one for each class. A score is the margin
z_1 - z_0 of the logits, and its bin the nearest number of 16 binary digits with float32's
exponents: equal probabilities have equal margins, and a bin is at most a 32,768th of their size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Self

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

GROUPS = "groups"
"""The name under which a batch carries the number of each sample's group, -1 if unknown."""
UNKNOWN = "unknown"
"""The value of an example whose group is not known; no group of its own."""

_LARGEST = 0x7F7FFF  # the bits of the largest finite float32, less the last 8


def score_bins(margins: npt.NDArray[np.floating]) -> Counts:
    """Return the bin of each margin, shape (n,): the 16-digit numbers, counted from zero."""
    largest = float(np.finfo(np.float32).max)
    finite = np.nan_to_num(margins.astype(np.float64), nan=0.0, posinf=largest, neginf=-largest)
    bits = np.clip(finite, -largest, largest).astype(np.float32).view(np.uint32).astype(np.int64)
    magnitude: Counts = np.minimum(((bits & 0x7FFFFFFF) + 0x80) >> 8, _LARGEST)
    return np.where(bits >> 31 == 1, -magnitude, magnitude)


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many examples of either class have a score in each bin.

    Attributes
    ----------
    bins : ndarray of int64, shape (k,)
        Rising; bins without examples are left out.
    counts : ndarray of int64, shape (k, 2)
        Examples of class 0 and of class 1.
    """

    bins: Counts
    counts: Counts

    @classmethod
    def of(cls, margins: npt.NDArray[np.floating], positive: npt.NDArray[np.bool_]) -> Self:
        """Count scores."""
        bins, place = np.unique(score_bins(margins), return_inverse=True)
        counts = np.zeros((len(bins), 2), dtype=np.int64)
        np.add.at(counts, (place, positive.astype(np.int64)), 1)
        return cls(bins, counts)

    def __add__(self, other: Self) -> Self:
        bins, place = np.unique(np.concatenate([self.bins, other.bins]), return_inverse=True)
        counts = np.zeros((len(bins), 2), dtype=np.int64)
        np.add.at(counts, place, np.concatenate([self.counts, other.counts]))
        return type(self)(bins, counts)


@dataclass(frozen=True, eq=False)
class Cell:
    """Counts over the examples of one group, of shape (classes,), one class against the rest.

    Of texts the examples are their tokens, and there is one class: every token is to be named
    as it is, and `hits` are those that are.

    Attributes
    ----------
    examples : int
    true : ndarray
        Examples of each class.
    named : ndarray
        Examples for which the model says the class.
    hits : ndarray
        Examples of the class for which it says so.
    scores : Histogram or None
        Of binary tasks.
    loss : float or None
        Sum of the losses of tokens.
    """

    examples: int
    true: Counts
    named: Counts
    hits: Counts
    scores: Histogram | None = None
    loss: float | None = None

    @classmethod
    def of_tokens(cls, tokens: int, hits: int, loss: float) -> Self:
        """Count the tokens of texts: all, those named as they are, and the sum of losses."""
        every = np.array([tokens], dtype=np.int64)
        return cls(tokens, every, every, np.array([hits], dtype=np.int64), loss=loss)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.true)

    @property
    def correct(self) -> int:
        """Examples for which the model is right."""
        return int(self.hits.sum())

    def __add__(self, other: Self) -> Self:
        both = self.scores is not None and other.scores is not None
        lost = self.loss is not None and other.loss is not None
        return type(self)(
            self.examples + other.examples,
            self.true + other.true,
            self.named + other.named,
            self.hits + other.hits,
            self.scores + other.scores if both else None,  # type: ignore[operator]
            self.loss + other.loss if lost else None,  # type: ignore[operator]
        )


Groups = Mapping[tuple[str, ...], Cell]


@dataclass(frozen=True, eq=False)
class GroupCounts:
    """The counts of one holder's examples, or of many holders' together.

    Attributes
    ----------
    columns : tuple of str
        The group columns.
    cells : mapping
        Counts by a value of each column.
    """

    columns: tuple[str, ...]
    cells: Groups

    @classmethod
    def of(
        cls,
        groups: Mapping[str, Sequence[str]],
        targets: Counts,
        predicted: Counts,
        classes: int,
        margins: npt.NDArray[np.floating] | None = None,
    ) -> Self:
        """Count examples.

        Parameters
        ----------
        groups : mapping
            By column, the value of each example.
        targets, predicted : ndarray of int64, shape (n,)
            Class numbers below `classes`.
        classes : int
        margins : ndarray, shape (n,), optional
            Of binary tasks, z_1 - z_0.
        """
        members: dict[tuple[str, ...], list[int]] = {}
        for row, values in enumerate(zip(*groups.values(), strict=True)):
            members.setdefault(values, []).append(row)
        cells = {}
        for values, listed in sorted(members.items()):
            rows = np.asarray(listed)
            y, said = targets[rows], predicted[rows]
            cells[values] = Cell(
                len(rows),
                np.bincount(y, minlength=classes),
                np.bincount(said, minlength=classes),
                np.bincount(y[y == said], minlength=classes),
                Histogram.of(margins[rows], y == 1)
                if margins is not None and classes == 2
                else None,
            )
        return cls(tuple(groups), cells)

    @classmethod
    def sum(cls, parts: Iterable[GroupCounts]) -> GroupCounts | None:
        """Add up holders' counts; None without any.

        Those whose columns or number of classes differ from the first one's are left out.
        """
        first: GroupCounts | None = None
        cells: dict[tuple[str, ...], Cell] = {}
        for part in parts:
            first = first or part
            if part.columns == first.columns and part.classes == first.classes:
                for values, cell in part.cells.items():
                    cells[values] = cells[values] + cell if values in cells else cell
        return first and GroupCounts(first.columns, dict(sorted(cells.items())))

    @property
    def classes(self) -> int:
        """Number of classes; 0 without examples."""
        return next((cell.classes for cell in self.cells.values()), 0)

    @property
    def examples(self) -> int:
        """Number of examples."""
        return sum(cell.examples for cell in self.cells.values())

    def views(self) -> tuple[tuple[str, ...], ...]:
        """Return what groups are formed by: each column, each pair, and all columns together."""
        pairs = combinations(self.columns, 2)
        views = [*((column,) for column in self.columns), *pairs, self.columns]
        return tuple(dict.fromkeys(view for view in views if view))

    def by(self, columns: Sequence[str]) -> Groups:
        """Return the counts by the values of some columns."""
        places = [self.columns.index(column) for column in columns]
        found: dict[tuple[str, ...], Cell] = {}
        for values, cell in self.cells.items():
            key = tuple(values[place] for place in places)
            found[key] = found[key] + cell if key in found else cell
        return dict(sorted(found.items()))

    def to_json(self, scores: bool = True) -> dict[str, object]:
        """Return plain values; `from_json` reads them back.

        Parameters
        ----------
        scores : bool
            Whether the histograms of scores are wanted.
        """
        return {
            "columns": list(self.columns),
            "cells": [
                {
                    "values": list(values),
                    "true": cell.true.tolist(),
                    "named": cell.named.tolist(),
                    "hits": cell.hits.tolist(),
                    "scores": [cell.scores.bins.tolist(), *cell.scores.counts.T.tolist()]
                    if cell.scores is not None and scores
                    else None,
                    **({} if cell.loss is None else {"loss": cell.loss}),
                }
                for values, cell in self.cells.items()
            ],
        }

    @classmethod
    def from_json(cls, content: object) -> GroupCounts:
        """Read what another machine counted.

        Raises
        ------
        ValueError
            It is nothing that could have been counted; says why.
        """
        raw = content if isinstance(content, dict) else {}
        columns, rows = _texts(raw.get("columns")), raw.get("cells")
        if not isinstance(rows, list) or not rows:
            raise ValueError("no cells")
        cells: dict[tuple[str, ...], Cell] = {}
        for row in rows:
            if not isinstance(row, dict):
                raise ValueError("a cell that is no object")
            values = _texts(row.get("values"))
            if len(values) != len(columns) or values in cells:
                raise ValueError("a cell without a value of each column, or twice")
            cells[values] = _cell(row)
        if len({cell.classes for cell in cells.values()}) > 1:
            raise ValueError("cells of different numbers of classes")
        return cls(columns, dict(sorted(cells.items())))


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError("names that are no text")
    return tuple(value)


def _cell(row: Mapping[str, object]) -> Cell:
    true, named, hits = (_numbers(row.get(key)) for key in ("true", "named", "hits"))
    if not len(true) == len(named) == len(hits) > 0:
        raise ValueError("a cell with different numbers of classes")
    if min(true.min(), named.min(), hits.min()) < 0 or true.sum() != named.sum():
        raise ValueError("a cell whose counts contradict each other")
    if (hits > np.minimum(true, named)).any() or true.sum() == 0:
        raise ValueError("a cell with more hits than examples")
    if len(true) == 1:
        loss = row.get("loss")
        if isinstance(loss, bool) or not isinstance(loss, int | float) or not 0 <= loss < 2**60:
            raise ValueError("tokens without the sum of their losses")
        return Cell.of_tokens(int(true.sum()), int(hits.sum()), float(loss))
    scores = row.get("scores")
    if scores is None:
        return Cell(int(true.sum()), true, named, hits)
    if not isinstance(scores, list) or len(scores) != 3 or len(true) != 2:
        raise ValueError("scores that are no histogram of two classes")
    bins, *sides = (_numbers(part) for part in scores)
    if not len(bins) == len(sides[0]) == len(sides[1]) > 0:
        raise ValueError("a histogram with different numbers of bins")
    counts = np.stack(sides, axis=1)
    if (np.diff(bins) <= 0).any() or np.abs(bins).max() > _LARGEST:
        raise ValueError("bins out of order")
    if counts.min() < 0 or (counts.sum(axis=0) != true).any():
        raise ValueError("a histogram of other examples")
    return Cell(int(true.sum()), true, named, hits, Histogram(bins, counts))


def _numbers(value: object) -> Counts:
    whole = isinstance(value, list) and all(type(n) is int and abs(n) < 2**40 for n in value)
    if not whole:
        raise ValueError("counts that are no whole numbers")
    return np.asarray(value, dtype=np.int64)
