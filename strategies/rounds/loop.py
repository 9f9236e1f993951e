"""The round loop, written once for every method.

Select, send, receive, screen, aggregate, evaluate, record. It starts at any round and survives the
loss of any reply.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from logging import INFO, WARNING

from flwr.supercore import log

from models.errors import ParticipationError, one_line
from models.messages import COLLECT
from models.schema import NamedArrays, Schema
from strategies.hooks import Hooks
from strategies.participation import Participation
from strategies.rounds.context import EVERYBODY, RoundContext
from strategies.rounds.fairness import summarise_fairness
from strategies.rounds.gathering import Gathering
from strategies.rounds.options import LoopOptions
from strategies.rounds.record import (
    Ledger,
    RoundRecord,
    summarise_clients,
    summarise_clusters,
    summarise_groups,
    summarise_others,
)
from strategies.rounds.truth import agreement_with_truth
from strategies.transport.exchange import Action, Exchange, Finding, Rejection, Reply, Request

Scalar = str | int | float | bool
_ATTEMPTS = 3
_NODE_POLL = 0.5


Progress = Callable[[int, str, int, int], None]


class RoundLoop:
    """Runs a strategy over an exchange.

    Parameters
    ----------
    strategy : Strategy
    exchange : Exchange
    options : LoopOptions
    evaluate_server : callable, optional
        ``(round, arrays) -> metrics`` on the server's test set.
    participation : Participation, optional
        Who can answer in which round; everybody by default.
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
        progress: Progress | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.strategy = strategy
        self.exchange = exchange
        self.options = options
        self.ledger = Ledger()
        self._evaluate_server = evaluate_server
        self._participation = participation or EVERYBODY
        self._progress = progress or (lambda *_: None)
        self._clock = clock
        self._next = 0

    def start(self, arrays: NamedArrays) -> None:
        """Begin a new run with this first model."""
        self.strategy.initialise(arrays)
        self._next = 0

    def resume(self, next_round: int, ledger: Ledger) -> None:
        """Go on at a round; the strategy's state was restored."""
        self.ledger = ledger
        self._next = next_round

    def rounds(self) -> Iterator[RoundRecord]:
        """Run all rounds that are left, yielding each one's record.

        Round 0 only evaluates the first model.

        Raises
        ------
        ParticipationError
            A round stayed below the quorum in three attempts.
        """
        # What the caller does between rounds counts too, so that all seconds add up.
        began = self._clock()
        for server_round in range(self._next, self.options.num_rounds + 1):
            trained = self._train(server_round) if server_round else RoundRecord(0)
            record = self._evaluated(trained)
            now = self._clock()
            yield replace(record, seconds=now - began)
            began = now

    # ---- training ------------------------------------------------------------------------

    def _context(self, server_round: int) -> RoundContext:
        return RoundContext(
            round=server_round,
            num_rounds=self.options.num_rounds,
            roster=self.exchange.roster,
            clients_per_round=self.options.clients_per_round,
            seed=self.options.seed,
            participation=self._participation,
            slots=self.options.slots,
            truth=self.options.truth,
        )

    def _train(self, server_round: int) -> RoundRecord:
        rejected: list[Rejection] = []
        answered = asked = 0
        figures: dict[str, float] = {}
        for attempt in range(1, _ATTEMPTS + 1):
            self._wait_for_quorum()
            self._forget(server_round)
            context = self._context(server_round)
            cohort = list(self.strategy.sample(context))
            asked = len(cohort)
            leaving = [c for c in cohort if context.participation.drops_out(server_round, c)]
            gathering = Gathering(self.strategy, context)
            for item in self._ask("train", cohort, context, leaving):
                if isinstance(item, Rejection):
                    rejected.append(item)
                    self.ledger.refused(item)
                    log(WARNING, "round %d: %s rejected: %s: %s", *_escaped(item))
                else:
                    gathering.add(item)
                del item
            answered = len(gathering.accepted)
            needed = self._needed(context, asked - len(leaving))
            if answered >= needed:
                result = gathering.result(cohort)
                if result is not None:
                    self.strategy.conclude(result, context)
                    figures = {**(gathering.exact.figures() if gathering.exact else {})}
                    figures |= self.strategy.figures()
                break
            log(
                WARNING,
                "round %d: %d of %d answered, %d needed (attempt %d of %d)",
                *(server_round, answered, asked, needed, attempt, _ATTEMPTS),
            )
        else:
            codes = sorted({f"{r.code} ({r.detail})" for r in rejected})
            raise ParticipationError(
                f"round {server_round}: {answered} of {asked} clients answered, "
                f"quorum is {self.options.quorum}; tried {_ATTEMPTS} times: {'; '.join(codes[:5])}"
            )
        accepted = gathering.accepted
        for reply in accepted:
            self.ledger.trained(reply, server_round)
        examples = sum(reply.num_examples for reply in accepted)
        losses = sum(r.num_examples * r.metrics.get("train_loss", 0.0) for r in accepted)
        return RoundRecord(
            round=server_round,
            train_loss=losses / examples if examples else None,
            bytes_up=sum(reply.bytes_up for reply in accepted),
            bytes_down=sum(reply.bytes_down for reply in accepted),
            clients_asked=asked,
            clients_answered=answered,
            rejected=tuple(context.roster.in_order(rejected)),
            remarks=tuple(remark for reply in accepted for remark in reply.remarks),
            method=figures,
            cohort=tuple(cohort),
            answered=tuple(reply.client for reply in accepted),
        )

    def _needed(self, context: RoundContext, staying: int) -> int:
        """Return how many answers make the round count.

        A scenario in which fewer than the quorum are there is not a failure: nothing else would
        come of asking again.
        """
        quorum = max(1, self.options.quorum)
        return quorum if context.participation.everybody else min(quorum, staying)

    def _wait_for_quorum(self) -> None:
        """Notice who came and went; give nodes that are away time to come back."""
        self.exchange.refresh()
        deadline = self._clock() + self.options.node_wait_timeout
        while (
            len(self.exchange.roster.reachable) < self.options.quorum and self._clock() < deadline
        ):
            time.sleep(_NODE_POLL)
            self.exchange.refresh()

    def _forget(self, server_round: int) -> None:
        """Let go of clients that have been away for too long."""
        gone = self.exchange.roster.forget_absent(server_round, self.options.forget_after)
        for client in gone:
            log(INFO, "round %d: %s left for good", server_round, one_line(client, 80))
            self.strategy.forget(client, server_round)

    def _ask(
        self,
        action: Action,
        clients: list[str],
        context: RoundContext,
        leaving: Collection[str] = (),
    ) -> Iterator[Reply | Rejection]:
        training = action == "train"
        common = self.options.train_config if training else self.options.evaluate_config
        tell = self.strategy.instruct if training else self.strategy.instruct_evaluation

        def build(client: str) -> Request:
            told = tell(client, context)
            config = {**common, **told.config}
            return Request(client, told.arrays, config, told.reply, told.base_version)

        for client in leaving:
            yield Rejection(
                client, context.round, "dropout", "left in mid-round, as the scenario says"
            )
        answers = self.exchange.exchange(
            action,
            [client for client in clients if client not in leaving],
            build,
            server_round=context.round,
            timeout=self.options.round_timeout,
        )
        for done, item in enumerate(answers, start=1):
            self._progress(context.round, action, done, len(clients))
            for remark in item.remarks if isinstance(item, Reply) else ():
                log(INFO, "round %d: %s: %s: %s", *_escaped(remark))
            yield item

    def collect(self, reply: Schema) -> Iterator[Reply | Rejection]:
        """Ask every client, after the last round, for the adapter that it uses.

        Parameters
        ----------
        reply : Schema
            Of a whole adapter; a client whose model has another one is rejected.
        """
        context = self._context(self.options.num_rounds)

        def build(client: str) -> Request:
            told = self.strategy.instruct_evaluation(client, context)
            config = {**self.options.evaluate_config, **told.config, COLLECT: True}
            return Request(client, told.arrays, config, reply, told.base_version)

        yield from self.exchange.exchange(
            "train",
            list(context.roster.reachable),
            build,
            server_round=context.round,
            timeout=self.options.round_timeout,
        )

    # ---- evaluation ----------------------------------------------------------------------

    def _due(self, server_round: int) -> bool:
        every = self.options.evaluate_every
        last = server_round == self.options.num_rounds
        return last or server_round == 0 or (every > 0 and server_round % every == 0)

    def _evaluated(self, record: RoundRecord) -> RoundRecord:
        replies: dict[str, Reply] = {}
        server: Mapping[str, float] = {}
        remarks = list(record.remarks)
        rejected = list(record.rejected)
        context = self._context(record.round)
        if self._due(record.round):
            answers = self._ask("evaluate", list(context.roster.reachable), context)
            for item in context.roster.in_order(answers):
                if isinstance(item, Rejection):
                    rejected.append(item)
                    self.ledger.refused(item)
                else:
                    replies[item.client] = item
                    remarks += item.remarks
                    self.ledger.evaluated(item, record.round)
                    self.strategy.heard(item.client, item.metrics)
            if self._evaluate_server is not None:
                server = self._evaluate_server(record.round, self.strategy.model)
        assignment = self.strategy.assignment
        fairness = summarise_fairness(replies)
        self.ledger.compared(fairness)
        return replace(
            record,
            server_metrics=dict(server),
            client_metrics=summarise_clients(replies),
            groups={**summarise_groups(replies), **fairness.groups},
            fairness=fairness,
            assignment=assignment,
            clusters=summarise_clusters(replies, assignment),
            method={
                **record.method,
                **summarise_others(replies),
                **agreement_with_truth(assignment, context),
            },
            rejected=tuple(rejected),
            remarks=tuple(remarks),
        )


def _escaped(item: Finding) -> tuple[int, str, str, str]:
    return item.round, one_line(item.client, 80), item.code, one_line(item.detail)
