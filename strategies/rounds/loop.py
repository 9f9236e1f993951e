"""The round loop, written once for every method.

Select, send, receive, screen, aggregate, evaluate, record. It starts at any round and survives the
loss of any reply. What closes a round is the closing rule's (`strategies.rounds.closing`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from models.errors import BouquetError
from models.messages import COLLECT
from models.schema import NamedArrays, Schema
from strategies.hooks import Hooks
from strategies.participation import Participation
from strategies.rounds.closed import ClosedRounds
from strategies.rounds.closing import Closing
from strategies.rounds.evaluating import Evaluation
from strategies.rounds.frame import Progress, RoundFrame
from strategies.rounds.open import OpenRounds
from strategies.rounds.options import LoopOptions
from strategies.rounds.record import Ledger, RoundRecord
from strategies.rounds.timing import Timing
from strategies.state import State
from strategies.transport.exchange import Exchange, OpenExchange, Rejection, Reply

NOTHING = State()


class RoundLoop:
    """Runs a strategy over an exchange.

    Parameters
    ----------
    strategy : Strategy
    exchange : Exchange
        An `OpenExchange` where rounds close before everybody has answered.
    options : LoopOptions
    evaluate_server : callable, optional
        ``(round, arrays) -> metrics`` on the server's test set.
    participation : Participation, optional
        Who can answer in which round; everybody by default.
    closing : Closing, optional
        What closes a round; by default everybody who was asked, or the end of the time.
    progress : callable, optional
        ``(round, action, answered, asked)``, called as answers come in.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        strategy: Hooks,
        exchange: Exchange,
        options: LoopOptions,
        *,
        evaluate_server: Callable[[int, NamedArrays], Mapping[str, float]] | None = None,
        participation: Participation | None = None,
        closing: Closing | None = None,
        progress: Progress | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._frame = RoundFrame(
            strategy,
            exchange,
            options,
            participation=participation,
            progress=progress,
            clock=clock,
        )
        self._open = exchange if isinstance(exchange, OpenExchange) else None
        self._rounds = self._kind(closing)
        self._timing = Timing(self._open) if self._open is not None else None
        self._evaluation = Evaluation(self._frame, evaluate_server)
        self._next = 0

    @property
    def strategy(self) -> Hooks:
        """What is run."""
        return self._frame.strategy

    @property
    def ledger(self) -> Ledger:
        """Accounts of all clients."""
        return self._frame.ledger

    def _kind(self, closing: Closing | None) -> ClosedRounds | OpenRounds:
        if closing is None:
            return ClosedRounds(self._frame)
        if self._open is None:
            raise BouquetError(
                f"{type(self._frame.exchange).__name__} waits for everybody who was asked, so no "
                "other rule can close a round; use a ClientGrid"
            )
        return OpenRounds(self._frame, self._open, closing)

    def start(self, arrays: NamedArrays) -> None:
        """Begin a new run with this first model."""
        self.strategy.initialise(arrays)
        self._next = 0
        if self._open is not None:
            self._open.set_clock(0.0)

    def resume(self, next_round: int, ledger: Ledger, state: State = NOTHING) -> None:
        """Go on at a round; the strategy's state was restored.

        Parameters
        ----------
        next_round : int
        ledger : Ledger
        state : State, optional
            What `state` gave after the round before.
        """
        self._frame.ledger = ledger
        self._next = next_round
        if self._open is not None and "now" in state.values:
            self._open.set_clock(float(state.values["now"] or 0.0))
        if isinstance(self._rounds, OpenRounds):
            self._rounds.restore(state.under("open"))
            if self._timing is not None:
                self._timing.resume(self._rounds.waiting)

    def state(self) -> State:
        """Return what a resumed run needs beside the strategy: the clock, and who is under way."""
        state = State()
        if isinstance(self._rounds, OpenRounds):
            state = self._rounds.state().nested("open")
        elif self._open is None or not self._open.virtual:
            return state  # where everybody is waited for, real seconds decide nothing
        return state | State(values={"now": self._open.now() if self._open else 0.0})

    @property
    def oldest_base(self) -> int | None:
        """The oldest round whose model a client is still training from; None if nobody is."""
        return self._rounds.oldest if isinstance(self._rounds, OpenRounds) else None

    def rounds(self) -> Iterator[RoundRecord]:
        """Run all rounds that are left, yielding each one's record.

        Round 0 only evaluates the first model.

        Raises
        ------
        ParticipationError
            A round stayed below the quorum in three attempts.
        """
        # What the caller does between rounds counts too, so that all seconds add up.
        clock = self._frame.clock
        began = clock()
        for server_round in range(self._next, self._frame.options.num_rounds + 1):
            trained = self._rounds.train(server_round) if server_round else RoundRecord(0)
            if self._timing is not None:
                trained = self._timing.added(trained)
            record = self._evaluation.added(trained)
            now = clock()
            yield replace(record, seconds=now - began)
            began = now
        if self._open is not None:
            self._open.release(list(self._open.under_way))

    def collect(self, schemas: Mapping[str, Schema]) -> Iterator[Reply | Rejection]:
        """Ask clients, after the last round, for the adapter that they use.

        Parameters
        ----------
        schemas : mapping
            By client, of its whole adapter; one that turns out to have another is rejected.
        """
        frame = self._frame
        context = frame.context(frame.options.num_rounds)
        yield from frame.exchange.exchange(
            "train",
            [client for client in context.roster.reachable if client in schemas],
            frame.builder("evaluate", context, {COLLECT: True}, schemas),
            server_round=context.round,
            timeout=frame.options.round_timeout,
        )
