"""How rounds are run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from models.time.slots import ONE_SLOT, Slots
from strategies.rounds.context import Truth

Scalar = str | int | float | bool


@dataclass(frozen=True)
class LoopOptions:
    """How rounds are run.

    Attributes
    ----------
    num_rounds : int
    clients_per_round : int
        0 = all.
    seed : int
    quorum : int
        Least number of answers for which a round counts.
    round_timeout : float
        Seconds.
    node_wait_timeout : float
        Seconds that a round waits for nodes to come back while fewer clients than the quorum are
        reachable.
    forget_after : int
        Rounds after which a client that is not reachable leaves for good; 0 = never.
    evaluate_every : int
        Clients are evaluated every so many rounds and in the last; 0 = only in the last.
    train_config, evaluate_config : mapping
        Sent to every client; a strategy's own instructions win.
    slots : Slots
        When clients' data change, where a scenario says so.
    truth : callable, optional
        ``(client, slot)``: the number of its concept, where a scenario lets concepts drift.
    """

    num_rounds: int
    clients_per_round: int = 0
    seed: int = 0
    quorum: int = 1
    round_timeout: float = 3600.0
    node_wait_timeout: float = 0.0
    forget_after: int = 0
    evaluate_every: int = 1
    train_config: Mapping[str, Scalar] = field(default_factory=dict)
    evaluate_config: Mapping[str, Scalar] = field(default_factory=dict)
    slots: Slots = ONE_SLOT
    truth: Truth | None = None
