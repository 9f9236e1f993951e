"""What a round leaves behind: one object of ``metrics.jsonl``, and a ledger of clients."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.messages import CLASSES
from strategies.rounds.fairness import NO_GROUPS, Fairness, Figures
from strategies.transport.exchange import Rejection, Remark, Reply, Training

Counts = Mapping[str, Mapping[str, tuple[int, int]]]


@dataclass(frozen=True)
class RoundRecord:
    """One round in numbers; None where it was not measured.

    Attributes
    ----------
    round : int
        0 is the state before training.
    train_loss : float or None
        Mean of the clients' training losses, weighted by examples.
    server_metrics : mapping
        ``loss``, ``accuracy``, ``macro_f1`` on the server's test set; of texts loss and accuracy
        of a token, and ``perplexity``.
    client_metrics : mapping
        Summary over clients; see `summarise_clients`.
    groups : mapping
        Accuracy and examples by group column and value, over all clients; with the clients' counts
        also each group's rates, and intersections of columns.
    fairness : Fairness
        Differences between groups, and the counts that they follow from.
    classes : mapping
        By client and class number, correct and all examples; it goes into ``classes.json``.
    bytes_up, bytes_down : int
        Sum over clients of their payloads' array bytes, training only.
    seconds : float
    clients_asked, clients_answered : int
    rejected : tuple of Rejection
    remarks : tuple of Remark
        About answers that count.
    method : mapping
        Numbers of the method's own, by name.
    assignment : mapping of str to int
        Each client's cluster after the round; it goes into ``clusters.csv``.
    clusters : mapping
        For each cluster its clients' mean accuracy and how many were evaluated.
    cohort, answered : tuple of str
        Who was asked to train, and who did; these go into ``participation.csv``.
    virtual_seconds : float or None
        When the round closed, under a virtual clock.
    idle_seconds : float or None
        Seconds that the clients whose updates went into the round waited for it to close, added
        up; None where no clock was read.
    staleness : mapping of int to int
        By staleness, how many updates went into the round.
    trainings : tuple of Training
        Those that ended in the round; they go into ``events.csv``.
    """

    round: int
    train_loss: float | None = None
    server_metrics: Mapping[str, float] = field(default_factory=dict)
    client_metrics: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Figures]] = field(default_factory=dict)
    fairness: Fairness = NO_GROUPS
    classes: Mapping[str, Mapping[str, Sequence[int]]] = field(default_factory=dict)
    bytes_up: int = 0
    bytes_down: int = 0
    seconds: float = 0.0
    clients_asked: int = 0
    clients_answered: int = 0
    rejected: tuple[Rejection, ...] = ()
    remarks: tuple[Remark, ...] = ()
    method: Mapping[str, float] = field(default_factory=dict)
    assignment: Mapping[str, int] = field(default_factory=dict)
    clusters: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    cohort: tuple[str, ...] = ()
    answered: tuple[str, ...] = ()
    virtual_seconds: float | None = None
    idle_seconds: float | None = None
    staleness: Mapping[int, int] = field(default_factory=dict)
    trainings: tuple[Training, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the object written to ``metrics.jsonl``."""
        server = {k: self.server_metrics.get(k) for k in SERVER_SCORES}
        server |= {k: v for k, v in self.server_metrics.items() if k in OF_TEXTS}
        clients = {k: self.client_metrics.get(k) for k in CLIENT_SUMMARY}
        others = {k: v for k, v in self.client_metrics.items() if k not in clients}
        return {
            "round": self.round,
            "train_loss": self.train_loss,
            **server,
            **clients,
            **others,
            "groups": {c: dict(v) for c, v in self.groups.items()},
            "fairness": {view: dict(figures) for view, figures in self.fairness.views.items()},
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
            "seconds": round(self.seconds, 3),
            "clients_asked": self.clients_asked,
            "clients_answered": self.clients_answered,
            "rejected": [r.to_dict() for r in self.rejected],
            "method": dict(self.method),
            "remarks": [r.to_dict() for r in self.remarks],
            "clusters": {cluster: dict(v) for cluster, v in self.clusters.items()},
            **self._times(),
        }

    def _times(self) -> dict[str, object]:
        """Return what the clock says, where there is one."""
        said: dict[str, object] = {}
        virtual = self.virtual_seconds is not None
        if virtual:
            said["virtual_seconds"] = self.virtual_seconds
        if virtual or self.idle_seconds is not None:
            said["idle_seconds"] = self.idle_seconds or 0.0
        if virtual or self.staleness:
            said["staleness"] = {str(rounds): n for rounds, n in self.staleness.items()}
        return said

    @classmethod
    def from_json(cls, line: str) -> RoundRecord:
        """Read the scores of a line of ``metrics.jsonl`` back."""
        raw = json.loads(line)
        server = {k: raw[k] for k in (*SERVER_SCORES, *OF_TEXTS) if raw.get(k) is not None}
        names = (*CLIENT_SUMMARY, *OTHER_SUMMARY)
        clients = {k: raw[k] for k in names if raw.get(k) is not None}
        return cls(
            raw["round"],
            raw["train_loss"],
            server,
            clients,
            clusters=raw.get("clusters", {}),
            virtual_seconds=raw.get("virtual_seconds"),
        )


SERVER_SCORES = ("loss", "accuracy", "macro_f1")
OF_TEXTS = ("perplexity",)
"""Further scores, in a line of ``metrics.jsonl`` only where texts are written."""
CLIENT_SUMMARY = (
    "client_accuracy_mean",
    "client_accuracy_median",
    "client_accuracy_std",
    "client_accuracy_worst",
    "client_accuracy_worst_decile",
    "client_loss_mean",
    "client_macro_f1_mean",
)
OTHER_MODELS = ("shared", "before_aggregation")
"""Models that clients may be evaluated with beside the one they use (`clients.trainers.base`)."""
OTHER_SUMMARY = tuple(
    f"client_{figure}_{model}_mean" for model in OTHER_MODELS for figure in ("accuracy", "loss")
) + tuple(f"client_{figure}_mean" for figure in OF_TEXTS)
"""Further names, in a line of ``metrics.jsonl`` only where a client knows them."""


def summarise_clients(replies: Mapping[str, Reply]) -> dict[str, float]:
    """Summarise the clients' evaluations, each client counting once.

    The standard deviation is the population's; the worst decile is the mean of the worst tenth of
    the clients (at least one).
    """
    scored = [r for r in replies.values() if r.num_examples > 0 and "accuracy" in r.metrics]
    if not scored:
        return {}
    accuracy = np.sort([r.metrics["accuracy"] for r in scored])
    tenth = max(1, len(accuracy) // 10)
    summary = {
        "client_accuracy_mean": float(accuracy.mean()),
        "client_accuracy_median": float(np.median(accuracy)),
        "client_accuracy_std": float(accuracy.std()),
        "client_accuracy_worst": float(accuracy[0]),
        "client_accuracy_worst_decile": float(accuracy[:tenth].mean()),
    }
    others = [f"{figure}_{model}" for model in OTHER_MODELS for figure in ("accuracy", "loss")]
    for name in ("loss", "macro_f1", *OF_TEXTS, *others):
        values = [r.metrics[name] for r in scored if name in r.metrics]
        if values:
            summary[f"client_{name}_mean"] = float(np.mean(values))
    return summary


def summarise_others(replies: Mapping[str, Reply]) -> dict[str, float]:
    """Return the mean over clients of other accuracies that they report, such as the head's."""
    sums: dict[str, list[float]] = {}
    for reply in replies.values():
        for name, value in reply.metrics.items():
            counted = name.removeprefix("accuracy_") in (name, *OTHER_MODELS)
            if not counted and reply.num_examples > 0:
                sums.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in sorted(sums.items())}


def summarise_groups(replies: Mapping[str, Reply]) -> dict[str, dict[str, dict[str, float]]]:
    """Add up the clients' counts by group; each note is {column: {value: [correct, examples]}}."""
    sums: dict[str, dict[str, list[int]]] = {}
    for reply in replies.values():
        groups = reply.notes.get("groups")
        if not isinstance(groups, dict):
            continue
        for column, values in groups.items():
            for value, (correct, examples) in values.items():
                cell = sums.setdefault(column, {}).setdefault(value, [0, 0])
                cell[0] += int(correct)
                cell[1] += int(examples)
    return {
        column: {
            value: {"accuracy": correct / examples, "examples": examples}
            for value, (correct, examples) in sorted(values.items())
            if examples
        }
        for column, values in sorted(sums.items())
    }


def counts_of_classes(replies: Mapping[str, Reply]) -> dict[str, dict[str, Sequence[int]]]:
    """Return what clients tell of each class: [correct, examples] by class number."""
    told = {client: reply.notes.get(CLASSES) for client, reply in replies.items()}
    return {client: counts for client, counts in told.items() if isinstance(counts, dict)}


def summarise_clusters(
    replies: Mapping[str, Reply], assignment: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    """Summarise the clients' evaluations by cluster, each client counting once."""
    found: dict[int, list[float]] = {}
    for client, reply in replies.items():
        if client in assignment and reply.num_examples > 0 and "accuracy" in reply.metrics:
            found.setdefault(assignment[client], []).append(reply.metrics["accuracy"])
    return {
        str(cluster): {
            "client_accuracy_mean": float(np.mean(found[cluster])),
            "clients": float(len(found[cluster])),
        }
        for cluster in sorted(found)
    }


@dataclass
class ClientAccount:
    """What one client did over the run; a row of ``clients.csv``."""

    rounds: int = 0
    last_round: int = 0
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    accuracy_shared: float | None = None
    bytes_up: int = 0
    bytes_down: int = 0
    rejected: int = 0
    fairness: dict[str, float | None] = field(default_factory=dict)


class Ledger:
    """Accounts of all clients."""

    def __init__(self) -> None:
        self.accounts: dict[str, ClientAccount] = {}

    def of(self, client: str) -> ClientAccount:
        """Return a client's account, opening it if need be."""
        return self.accounts.setdefault(client, ClientAccount())

    def trained(self, reply: Reply, server_round: int) -> None:
        """Book a round's training."""
        account = self.of(reply.client)
        account.rounds += 1
        account.last_round = server_round
        account.bytes_up += reply.bytes_up
        account.bytes_down += reply.bytes_down

    def refused(self, rejection: Rejection) -> None:
        """Book a rejected answer."""
        self.of(rejection.client).rejected += 1

    def evaluated(self, reply: Reply, server_round: int) -> None:
        """Book an evaluation; round 0 is "before", any later one "after"."""
        accuracy = reply.metrics.get("accuracy")
        if server_round == 0:
            self.of(reply.client).accuracy_before = accuracy
        else:
            self.of(reply.client).accuracy_after = accuracy
            self.of(reply.client).accuracy_shared = reply.metrics.get("accuracy_shared")

    def compared(self, fairness: Fairness) -> None:
        """Book how each client's own groups compare; the newest evaluation counts."""
        for client, figures in fairness.clients.items():
            self.of(client).fairness = dict(figures)
