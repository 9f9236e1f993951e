"""What every kind of round needs: its context, who is there, and how clients are asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from logging import INFO, WARNING
from types import MappingProxyType

from flwr.supercore import log

from models.errors import one_line
from models.schema import Schema
from strategies.hooks import Hooks
from strategies.participation import Participation
from strategies.rounds.context import EVERYBODY, RoundContext
from strategies.rounds.options import LoopOptions
from strategies.rounds.record import Ledger
from strategies.transport.exchange import Action, Exchange, Finding, Rejection, Reply, Request

Scalar = str | int | float | bool
Progress = Callable[[int, str, int, int], None]
_NODE_POLL = 0.5


class RoundFrame:
    """A strategy, an exchange, and how the two meet.

    Parameters
    ----------
    strategy : Hooks
    exchange : Exchange
    options : LoopOptions
    participation : Participation, optional
        Who can answer in which round; everybody by default.
    progress : callable, optional
        ``(round, action, answered, asked)``, called as answers come in.
    clock : callable
        Monotonic seconds.

    Attributes
    ----------
    ledger : Ledger
        Accounts of all clients.
    participation : Participation
        Who can answer when.
    """

    def __init__(
        self,
        strategy: Hooks,
        exchange: Exchange,
        options: LoopOptions,
        *,
        participation: Participation | None = None,
        progress: Progress | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.strategy = strategy
        self.exchange = exchange
        self.options = options
        self.ledger = Ledger()
        self.progress: Progress = progress or (lambda *_: None)
        self.clock = clock
        self.participation = participation or EVERYBODY

    def context(self, server_round: int) -> RoundContext:
        """Return what the strategy sees of a round at its beginning."""
        return RoundContext(
            round=server_round,
            num_rounds=self.options.num_rounds,
            roster=self.exchange.roster,
            clients_per_round=self.options.clients_per_round,
            seed=self.options.seed,
            participation=self.participation,
            slots=self.options.slots,
            truth=self.options.truth,
        )

    def wait_for_quorum(self) -> None:
        """Notice who came and went; give nodes that are away time to come back."""
        self.exchange.refresh()
        deadline = self.clock() + self.options.node_wait_timeout
        while len(self.exchange.roster.reachable) < self.options.quorum and self.clock() < deadline:
            time.sleep(_NODE_POLL)
            self.exchange.refresh()

    def forget(self, server_round: int) -> Sequence[str]:
        """Let go of clients that have been away for too long; return them."""
        gone = self.exchange.roster.forget_absent(server_round, self.options.forget_after)
        for client in gone:
            log(INFO, "round %d: %s left for good", server_round, one_line(client, 80))
            self.strategy.forget(client, server_round)
        return gone

    def builder(
        self,
        action: Action,
        context: RoundContext,
        also: Mapping[str, Scalar] | None = None,
        replies: Mapping[str, Schema] = MappingProxyType({}),
    ) -> Callable[[str], Request]:
        """Return what makes a client's request: the instruction on top of the run's options.

        Parameters
        ----------
        action : {"train", "evaluate"}
            Whose instruction and options.
        context : RoundContext
        also : mapping, optional
            Options beyond the instruction's.
        replies : mapping, optional
            By client, what its answer must hold, whatever the instruction says.
        """
        training = action == "train"
        common = self.options.train_config if training else self.options.evaluate_config
        tell = self.strategy.instruct if training else self.strategy.instruct_evaluation

        def build(client: str) -> Request:
            told = tell(client, context)
            config = {**common, **told.config, **(also or {})}
            reply = replies.get(client, told.reply)
            return Request(client, told.arrays, config, reply, told.base_version)

        return build

    def ask(
        self, action: Action, clients: Sequence[str], context: RoundContext
    ) -> Iterator[Reply | Rejection]:
        """Ask clients and yield one answer or rejection for each."""
        answers = self.exchange.exchange(
            action,
            clients,
            self.builder(action, context),
            server_round=context.round,
            timeout=self.options.round_timeout,
        )
        for done, item in enumerate(answers, start=1):
            self.progress(context.round, action, done, len(clients))
            self.tell_remarks(item)
            yield item

    def rejected(self, item: Rejection) -> None:
        """Book and tell that a training came to nothing."""
        self.ledger.refused(item)
        log(WARNING, "round %d: %s rejected: %s: %s", *_escaped(item))

    def tell_remarks(self, item: Reply | Rejection) -> None:
        """Tell what the gate noticed about an answer that counts."""
        for remark in item.remarks if isinstance(item, Reply) else ():
            log(INFO, "round %d: %s: %s: %s", *_escaped(remark))


def dropouts(cohort: Sequence[str], context: RoundContext) -> list[Rejection]:
    """Return the rejections of those who leave in mid-round, as the scenario says."""
    return [
        Rejection(client, context.round, DROPOUT, "left in mid-round, as the scenario says")
        for client in cohort
        if context.participation.drops_out(context.round, client)
    ]


DROPOUT = "dropout"
"""Code of their rejections, whoever makes them."""


def _escaped(item: Finding) -> tuple[int, str, str, str]:
    return item.round, one_line(item.client, 80), item.code, one_line(item.detail)
