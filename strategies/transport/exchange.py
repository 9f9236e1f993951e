"""The words of an exchange: what a client is asked, what it answers, why it was refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

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


@dataclass(frozen=True)
class Arrival:
    """An answer, when it was asked for and when it came.

    Attributes
    ----------
    item : Reply or Rejection
    base_round : int
        The round in which the client was sent its start.
    sent, arrived : float
        Seconds of the exchange's clock.
    start : NamedArrays or None
        What the client was sent; None for a rejection.
    """

    item: Reply | Rejection
    base_round: int
    sent: float
    arrived: float
    start: NamedArrays | None = None

    @property
    def client(self) -> str:
        """Whose it is."""
        return self.item.client


ANSWERED = "answered"
RELEASED = "released"


@dataclass(frozen=True)
class Training:
    """One client's training that ended: what ``events.csv`` keeps of it.

    Attributes
    ----------
    client : str
    base_round : int
        The round in which it was sent its start.
    sent, arrived : float
        Seconds of the exchange's clock.
    outcome : str
        ``answered``, ``released``, or the code of its rejection.
    """

    client: str
    base_round: int
    sent: float
    arrived: float
    outcome: str


@runtime_checkable
class OpenExchange(Exchange, Protocol):
    """An exchange in which not everybody who was asked is waited for.

    Its clock is real (monotonic) or virtual; what is said in seconds is said in its seconds.
    """

    @property
    def virtual(self) -> bool:
        """Whether the clock is a virtual one."""

    def now(self) -> float:
        """Return the seconds since the run began."""

    def set_clock(self, seconds: float) -> None:
        """Set the clock of a run that is resumed, before anything is sent."""

    @property
    def under_way(self) -> Mapping[str, int]:
        """The clients who are training, and the round in which each was sent its start."""

    def send(
        self,
        clients: Sequence[str],
        build: Callable[[str], Request],
        *,
        server_round: int,
        timeout: float,
        sent: float | None = None,
    ) -> None:
        """Ask clients to train, and return at once.

        Parameters
        ----------
        clients : sequence of str
        build : callable
            Called for each client before this returns.
        server_round : int
            Becomes the base round of the answers.
        timeout : float
            Seconds after which a client that did not answer is given up: `next` returns its
            rejection then.
        sent : float, optional
            The second at which it was asked before the run was resumed; now where it is None.

        Raises
        ------
        BouquetError
            One of them is still under way.
        """

    def next(self, until: float) -> Sequence[Arrival]:
        """Wait for the next answers, at most to a second of the clock.

        Returns
        -------
        sequence of Arrival
            Those of one moment in roster order. Empty when `until` has passed; or before, where
            something else has changed that may be worth a look, such as who is there.
        """

    def release(self, clients: Sequence[str]) -> None:
        """Wait no longer for clients; what they still answer is dropped."""

    def trainings(self) -> Sequence[Training]:
        """Return the trainings that ended since this was called last, in order of their end."""
