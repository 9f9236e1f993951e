"""What a run left behind, typed: rounds, clients, label counts, baselines."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from app.report.clock.record import Timeline
from app.report.clusters.record import Clusters
from app.report.participation import Participation
from models.fairness.counts import GroupCounts

Groups: TypeAlias = Mapping[str, Mapping[str, "GroupScore"]]
Views: TypeAlias = Mapping[str, "View"]

SCORES = (
    "train_loss",
    "loss",
    "accuracy",
    "macro_f1",
    "client_accuracy_mean",
    "client_accuracy_median",
    "client_accuracy_std",
    "client_accuracy_worst",
    "client_accuracy_worst_decile",
    "client_loss_mean",
    "client_macro_f1_mean",
    "client_accuracy_shared_mean",
    "client_loss_shared_mean",
    "client_accuracy_before_aggregation_mean",
    "client_loss_before_aggregation_mean",
    "perplexity",
    "client_perplexity_mean",
)
"""Names of the numbers that a line of ``metrics.jsonl`` may hold or leave null."""

_LONGEST_TEXT = 400
# A bidirectional override turns the reading order of everything after it, in a page or a terminal.
_TURNS_TEXT = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True)
class Finding:
    """What the gate said of one reply: why it was refused, or what was changed in it."""

    client: str
    round: int
    code: str
    detail: str


@dataclass(frozen=True)
class GroupScore:
    """Accuracy in [0, 1] over the examples of one value of a group column, and its other rates.

    Accuracy is None where the examples are too few.
    """

    accuracy: float | None
    examples: int
    rates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """The differences between the groups of one column, or of several joined.

    Attributes
    ----------
    figures : mapping
        Finite numbers by their names in ``metrics.jsonl``.
    worst : str
        The group of least accuracy; empty if undefined.
    undefined : tuple of str
        Groups that are too small.
    """

    figures: Mapping[str, float] = field(default_factory=dict)
    worst: str = ""
    undefined: tuple[str, ...] = ()


@dataclass(frozen=True)
class Round:
    """One line of ``metrics.jsonl``; round 0 is the model before any training.

    ``scores`` holds the finite numbers only, by the names in `SCORES`; ``figures`` those that the
    method told of itself, ``name`` in total and ``name/layer`` for a layer. ``clock`` is the
    virtual second at which the round closed; None under a real clock.
    """

    number: int
    scores: Mapping[str, float] = field(default_factory=dict)
    groups: Groups = field(default_factory=dict)
    fairness: Views = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    bytes_up: int = 0
    bytes_down: int = 0
    seconds: float = 0.0
    clock: float | None = None
    asked: int = 0
    answered: int = 0
    rejected: tuple[Finding, ...] = ()
    remarks: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class ClientRow:
    """One line of ``clients.csv``; None where the cell was empty."""

    client: str
    node: str
    examples: int | None
    test_examples: int | None
    concept: str
    model: str
    rounds: int | None
    last_round: int | None
    before: float | None
    after: float | None
    bytes_up: int | None
    bytes_down: int | None
    rejected: int | None
    shared: float | None = None


@dataclass(frozen=True)
class RunRecord:
    """Everything the report says, as it stands in one run directory.

    Attributes
    ----------
    config : mapping of str to object
        Resolved settings under their kebab-case keys.
    rounds : tuple of Round
        In order, round 0 first where it was written.
    label_counts : mapping of str to mapping of str to int
        Examples by label for the clients that share their counts.
    baselines : mapping of str to RunRecord
        Runs compared with this one, by name.
    participation : Participation or None
        None where the run did not write down who was asked.
    artifacts : mapping of str to ndarray
        What the method kept beside the adapter.
    drifts : mapping of int to str
        First round of each slot after the first in which clients' data drifted, and how: ``real``,
        ``virtual`` or ``label``, several between commas.
    counts : mapping of str to GroupCounts
        What each client counted of its groups at the newest evaluation.
    classes : mapping
        By client and label, correct and all held-out examples at the newest evaluation.
    adapter_bytes : int or None
        Of the whole adapter, once over the wire.
    clusters : Clusters or None
        Who was in which cluster; None where the run has one model for all.
    timeline : Timeline or None
        Who trained when; None where the run did not write it down.
    """

    directory: Path
    config: Mapping[str, object]
    status: Mapping[str, object]
    rounds: tuple[Round, ...]
    clients: tuple[ClientRow, ...]
    labels: tuple[str, ...] = ()
    label_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    baselines: Mapping[str, RunRecord] = field(default_factory=dict)
    participation: Participation | None = None
    artifacts: Mapping[str, npt.NDArray[np.floating]] = field(default_factory=dict)
    drifts: Mapping[int, str] = field(default_factory=dict)
    counts: Mapping[str, GroupCounts] = field(default_factory=dict)
    classes: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)
    adapter_bytes: int | None = None
    clusters: Clusters | None = None
    timeline: Timeline | None = None

    @property
    def name(self) -> str:
        """The run's name: the setting, or what its directory is called."""
        return self.text("run-name") or clean(self.directory.name)

    @property
    def writes_texts(self) -> bool:
        """Whether the model continues texts, and accuracy is that of a token."""
        return self.config.get("task") == "causal-lm"

    @property
    def rejected(self) -> tuple[Finding, ...]:
        """All refused replies, in order of rounds."""
        return tuple(entry for line in self.rounds for entry in line.rejected)

    @property
    def remarks(self) -> tuple[Finding, ...]:
        """What was cut, dropped or noted in replies that count, in order of rounds."""
        return tuple(entry for line in self.rounds for entry in line.remarks)

    @property
    def uneven(self) -> bool:
        """Whether a client is known to have missed a round."""
        if self.participation is not None:
            return not self.participation.complete
        last = max((line.number for line in self.rounds), default=0)
        return any(row.rounds is not None and row.rounds < last for row in self.clients)

    @property
    def fairness(self) -> tuple[Views, Views]:
        """The differences between groups before training, and the newest ones after it."""
        before = next((line.fairness for line in self.rounds if line.number == 0), {})
        after = [line.fairness for line in self.rounds if line.number and line.fairness]
        return before, after[-1] if after else {}

    @property
    def group_columns(self) -> tuple[str, ...]:
        """The columns whose groups were counted."""
        return next((counts.columns for counts in self.counts.values()), ())

    @property
    def size(self) -> int:
        """Number of clients: those with a row of their own, or the most that were asked."""
        return len(self.clients) or max((line.asked for line in self.rounds), default=0)

    def text(self, key: str, default: str = "") -> str:
        """Return a setting as text, or `default` where it is missing or empty."""
        value = self.config.get(key)
        return default if value in (None, "") else safe(str(value))

    def series(self, score: str) -> tuple[list[int], list[float]]:
        """Return the rounds that know a score, and their scores."""
        known = [(line.number, line.scores[score]) for line in self.rounds if score in line.scores]
        return [number for number, _ in known], [value for _, value in known]

    def by_clock(self, score: str) -> tuple[list[float], list[float]]:
        """Return the virtual seconds at which a score is known, and the scores."""
        known = [
            (line.clock, line.scores[score])
            for line in self.rounds
            if score in line.scores and line.clock is not None
        ]
        return [second for second, _ in known], [value for _, value in known]

    def figure(self, name: str) -> tuple[list[int], list[float]]:
        """Return the rounds that know a figure of the method's own, and its values."""
        known = [(line.number, line.figures[name]) for line in self.rounds if name in line.figures]
        return [number for number, _ in known], [value for _, value in known]

    def before(self, score: str) -> float | None:
        """Return a score of round 0, the model before training."""
        start = next((line for line in self.rounds if line.number == 0), None)
        return None if start is None else start.scores.get(score)

    def after(self, score: str) -> float | None:
        """Return a score's newest value, or None where no trained model was scored."""
        known = [line.scores[score] for line in self.rounds if line.number and score in line.scores]
        return known[-1] if known else None


def safe(text: str) -> str:
    """Put text on one line and replace what could break a page, a picture or a terminal."""
    return "".join(
        "\ufffd" if c in _TURNS_TEXT or unicodedata.category(c) in ("Cc", "Cs") else c
        for c in text.replace("\n", " ").replace("\t", " ")
    )


def clean(text: str) -> str:
    """Make text from another machine safe, and cut what is longer than a reader would read."""
    cut = text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
    return safe(cut)


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one value."""
    return math.fsum(values) / len(values)
