"""The words of an exchange: what a client is asked, what it answers, why it was refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from models.schema import NamedArrays, Schema
from strategies.transport.roster import Roster

Action = Literal["train", "evaluate"]
Scalar = str | int | float | bool


@dataclass(frozen=True)
class Request:
    """What one client is asked in one round.

    Attributes
    ----------
    client : str
        Stable id.
    arrays : NamedArrays
        What it starts from; the same object for several clients travels once a pack.
    config : mapping
        Options for this client: the objective, local steps, ...
    reply : Schema, optional
        What the answer must hold; None means: as `arrays`.
    base_version : int
        Version of the frozen base that it starts from; 0 = as it was loaded.
    bytes_beside : int
        Its share of what travelled with the message: changes of the base.
    """

    client: str
    arrays: NamedArrays
    config: Mapping[str, Scalar] = field(default_factory=dict)
    reply: Schema | None = None
    base_version: int = 0
    bytes_beside: int = 0

    @property
    def reply_schema(self) -> Schema:
        """What the answer must hold."""
        return self.reply or self.arrays.schema


@dataclass(frozen=True)
class Reply:
    """One client's accepted answer.

    Attributes
    ----------
    client : str
    stream : str
        Key of the node's stream; within a stream replies come in client order.
    arrays : NamedArrays or None
        None for an evaluation.
    num_examples : int
        Examples trained or evaluated on.
    metrics : mapping
        Finite numbers.
    notes : mapping
        Anything structured (per-group counts); JSON values.
    bytes_up, bytes_down : int
        Array bytes of this client's payloads.
    remarks : tuple of Remark
        What the gate changed or dropped.
    """

    client: str
    stream: str
    arrays: NamedArrays | None
    num_examples: int
    metrics: Mapping[str, float]
    notes: Mapping[str, object] = field(default_factory=dict)
    bytes_up: int = 0
    bytes_down: int = 0
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What the gate has to say about one client's answer.

    Attributes
    ----------
    client : str
    round : int
    code : str
        Short and machine-readable.
    detail : str
        One escaped line.
    """

    client: str
    round: int
    code: str
    detail: str

    def to_dict(self) -> dict[str, str | int]:
        """Return what ``metrics.jsonl`` lists."""
        return {
            "client": self.client,
            "round": self.round,
            "code": self.code,
            "detail": self.detail,
        }


class Remark(Finding):
    """The answer counts, though something is to be known: a dropped metric, a large norm."""


class Rejection(Finding):
    """The answer does not count, or never came."""


class Exchange(Protocol):
    """Anything that carries requests to clients: packed, plain, or on a virtual clock."""

    @property
    def roster(self) -> Roster:
        """The clients known now."""

    def refresh(self) -> None:
        """Notice nodes that came or went."""

    def exchange(
        self,
        action: Action,
        clients: Sequence[str],
        build: Callable[[str], Request],
        *,
        server_round: int,
        timeout: float,
    ) -> Iterator[Reply | Rejection]:
        """Ask `clients` and yield one answer or rejection for each.

        `build` is called when a client's message is about to leave, so that payloads of many
        clients never exist at once.
        """
