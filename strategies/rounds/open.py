"""Rounds that close before everybody who was asked has answered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from logging import WARNING
from math import isfinite

from flwr.supercore import log

from models.errors import ClientError, ParticipationError
from strategies.rounds.closed import ATTEMPTS
from strategies.rounds.closing import Closing, Standing
from strategies.rounds.context import RoundContext
from strategies.rounds.frame import DROPOUT, RoundFrame, dropouts
from strategies.rounds.gathering import Gathering
from strategies.rounds.late.idle import Idle
from strategies.rounds.late.outstanding import Outstanding
from strategies.rounds.late.rebasing import rebased
from strategies.rounds.record import RoundRecord
from strategies.state import State
from strategies.transport.exchange import Arrival, OpenExchange, Rejection, Reply


class OpenRounds:
    """Training under a closing rule; what waits or is under way stays from round to round.

    Parameters
    ----------
    frame : RoundFrame
    exchange : OpenExchange
        The frame's.
    rule : Closing
    """

    def __init__(self, frame: RoundFrame, exchange: OpenExchange, rule: Closing) -> None:
        self._frame = frame
        self._exchange = exchange
        self._rule = rule
        self._out = Outstanding(exchange)
        self._idle = Idle()
        # Who failed in this round is asked again only when nobody else is left.
        self._failed: set[str] = set()
        self._opened = 0.0

    def train(self, server_round: int) -> RoundRecord:
        """Train until the rule closes the round.

        Raises
        ------
        ParticipationError
            Nobody answered, though everybody who is there was asked three times.
        """
        lost: list[Rejection] = []
        asking = attempt = 1
        self._begin(server_round)
        while True:
            context = partial(self._context, server_round, asking - 1)
            standing = self._standing(server_round, context)
            taken = self._rule.closes(standing)
            if taken is not None:
                break
            count = self._rule.ask(standing) if self._somebody_idle() else 0
            dropped = self._ask(context(), count) if count > 0 else []
            asking += count > 0
            lost += dropped
            until = self._rule.latest(standing)
            before = self._exchange.now()
            arrivals = self._next(until)
            fresh = [a.item for a in arrivals if isinstance(a.item, Rejection)]
            lost += fresh
            self._failed.update(rejection.client for rejection in (*dropped, *fresh))
            if arrivals or dropped or self._exchange.under_way or isfinite(until):
                continue
            if self._exchange.virtual and self._exchange.now() > before and self._may_come():
                continue
            if self._out.waiting:
                taken = list(self._out.waiting)
                break
            if not context().participation.everybody and all(r.code == DROPOUT for r in lost):
                taken = []  # a scenario in which nobody is there is not a failure
                break
            self._try_again(server_round, attempt, lost)
            attempt += 1
            self._forgive()
        return self._closed(server_round, taken, lost)

    def _begin(self, server_round: int) -> None:
        frame = self._frame
        frame.wait_for_quorum()
        gone = frame.forget(server_round)
        self._exchange.release([c for c in gone if c in self._exchange.under_way])
        self._out.forget(gone)
        # The gate's round opens here, whoever is asked in it.
        context = frame.context(server_round)
        self._out.send([], frame.builder("train", context), context, frame.options.round_timeout)

    def _forgive(self) -> None:
        """Let those who failed be asked again."""
        self._idle.freed(self._failed)
        self._failed.clear()

    def _somebody_idle(self) -> bool:
        """Say whether there may be somebody to ask, without a look at each client."""
        busy = len(self._exchange.under_way) + len(self._out.waiting) + len(self._failed)
        return busy < len(self._exchange.roster)

    def _may_come(self) -> bool:
        """Say whether the scenario may bring somebody, with nobody under way, who can be asked."""
        roster, chance = self._exchange.roster, self._frame.participation.probability
        return any(
            chance(roster[client]) != 0
            for client in roster.reachable
            if client not in self._failed and client not in self._out.waiting
        )

    def _context(self, server_round: int, asking: int) -> RoundContext:
        context = self._frame.context(server_round)
        self._idle.look(context, self._busy)
        return replace(context, idle=self._idle, now=self._exchange.now(), asking=asking)

    def _busy(self) -> Collection[str]:
        return self._failed.union(self._exchange.under_way, self._out.waiting)

    def _standing(self, server_round: int, context: Callable[[], RoundContext]) -> Standing:
        return Standing(
            round=server_round,
            opened=self._opened,
            now=self._exchange.now(),
            idle=lambda: context().available,
            under_way=self._exchange.under_way,
            waiting=self._out.waiting,
            wanted=self._frame.options.clients_per_round,
        )

    def _ask(self, context: RoundContext, count: int) -> list[Rejection]:
        """Ask so many clients, whom the strategy chooses; return those who leave at once."""
        frame = self._frame
        if not context.available:
            return []
        context = replace(context, clients_per_round=count)
        cohort = list(frame.strategy.sample(context))
        self._idle.took(cohort)
        lost = dropouts(cohort, context)
        leaving = {rejection.client for rejection in lost}
        for rejection in lost:
            frame.rejected(rejection)
        staying = [client for client in cohort if client not in leaving]
        if staying:
            build = frame.builder("train", context)
            self._out.send(staying, build, context, frame.options.round_timeout)
        return lost

    def _next(self, until: float) -> Sequence[Arrival]:
        """Wait for the next answers and put aside those that count."""
        frame = self._frame
        arrivals = self._exchange.next(until)
        if not arrivals:
            self._exchange.refresh()
        for arrival in arrivals:
            self._out.came(arrival)
            if isinstance(arrival.item, Rejection):
                frame.rejected(arrival.item)
            else:
                frame.tell_remarks(arrival.item)
        return arrivals

    def _try_again(self, server_round: int, attempt: int, lost: Sequence[Rejection]) -> None:
        """Wait for nodes to come back, where nobody is left to be asked."""
        log(
            WARNING,
            "round %d: nobody answered and nobody is left to ask (attempt %d of %d)",
            *(server_round, attempt, ATTEMPTS),
        )
        if attempt == ATTEMPTS:
            codes = sorted({f"{r.code} ({r.detail})" for r in lost})
            raise ParticipationError(
                f"round {server_round}: no client answered; tried {ATTEMPTS} times: "
                f"{'; '.join(codes[:5]) or 'nobody was there to be asked'}"
            )
        self._frame.wait_for_quorum()

    def _closed(
        self, server_round: int, taken: Sequence[str], lost: list[Rejection]
    ) -> RoundRecord:
        """Aggregate what the rule took; release who is too late, if it is such a rule."""
        frame = self._frame
        if not self._rule.keeps:
            late = [*self._exchange.under_way, *(c for c in self._out.waiting if c not in taken)]
            self._exchange.release(list(self._exchange.under_way))
            for client in late:
                detail = "the round closed before its turn"
                lost.append(Rejection(client, server_round, "late", detail))
                frame.ledger.refused(lost[-1])
            self._out.forget(late)
            self._idle.freed(late)
        self._forgive()
        self._opened = self._exchange.now()
        replies = [arrival for client in taken if (arrival := self._out.waiting.pop(client))]
        self._idle.freed(taken)
        context = self._context(server_round, 0)
        gathering = Gathering(frame.strategy, context)
        for arrival in context.roster.in_order(replies):
            reply = self._fresh(arrival, context)
            if isinstance(reply, Rejection):
                lost.append(reply)
                frame.rejected(reply)
            else:
                gathering.add(reply, arrival)
        place = context.roster.places
        ended = {*taken, *(rejection.client for rejection in lost)}
        cohort = sorted(ended & place.keys(), key=place.__getitem__)
        frame.progress(server_round, "train", len(gathering.accepted), len(cohort))
        return gathering.concluded(cohort, lost, frame.ledger)

    def _fresh(self, arrival: Arrival, context: RoundContext) -> Reply | Rejection:
        """Return an answer as the strategy is to see it: rebased where it is stale."""
        reply, start, strategy = arrival.item, arrival.start, self._frame.strategy
        if isinstance(reply, Rejection) or reply.arrays is None or start is None:
            return reply
        if arrival.base_round == context.round or strategy.wants_start:
            return reply
        now = strategy.instruct(reply.client, context).arrays
        try:
            return replace(reply, arrays=rebased(reply.arrays, start, now, strategy.arrays))
        except ClientError as error:
            return Rejection(reply.client, context.round, error.code_name, error.detail)

    # ---- a run that goes on --------------------------------------------------------------

    @property
    def oldest(self) -> int | None:
        """The oldest round whose model is still being trained from; None if nobody trains."""
        return min(self._exchange.under_way.values(), default=None)

    @property
    def waiting(self) -> Collection[Arrival]:
        """The answers that no round has taken yet."""
        return self._out.waiting.values()

    def state(self) -> State:
        """Return who is under way from which start, and what waits."""
        return self._out.state() | State(values={"opened": self._opened})

    def restore(self, state: State) -> None:
        """Put aside what waited, and ask again who was under way, from the same starts."""
        if not state.values:
            return
        self._opened = float(state.values["opened"] or 0.0)
        self._out.restore(state, self._frame.options.round_timeout)
