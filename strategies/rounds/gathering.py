"""A round's updates on their way into the aggregation; arrival order never shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from strategies.hooks import Aggregation, Hooks
from strategies.rounds.context import RoundContext, Update
from strategies.rounds.faithfulness import ExactMean
from strategies.rounds.record import Ledger, RoundRecord
from strategies.transport.exchange import Arrival, Rejection, Reply


class Gathering:
    """The accepted replies of one attempt at a round.

    A linear rule takes each update at once, a stream for each node; any other rule gets all of
    them in one stream, in the cohort's order.

    Parameters
    ----------
    strategy : Strategy
    context : RoundContext

    Attributes
    ----------
    accepted : list of Reply
        Without their arrays.
    """

    def __init__(self, strategy: Hooks, context: RoundContext) -> None:
        self._strategy = strategy
        self._context = context
        self._streams: dict[str, Aggregation] = {}
        self._exact: dict[str, ExactMean] = {}
        self._waiting: dict[str, Update] = {}
        self._staleness: Counter[int] = Counter()
        self.accepted: list[Reply] = []

    def add(self, reply: Reply, arrival: Arrival | None = None) -> None:
        """Take one reply; of its arrays nothing is kept where the rule allows it.

        Parameters
        ----------
        reply : Reply
        arrival : Arrival, optional
            Where its base may be of an older round: when it was sent its start, and which.
        """
        self.accepted.append(replace(reply, arrays=None))
        if reply.arrays is None:
            return
        update = Update(
            client=reply.client,
            arrays=reply.arrays,
            num_examples=reply.num_examples,
            metrics=reply.metrics,
            notes=reply.notes,
            base_round=self._context.round,
        )
        if arrival is not None:
            update = replace(
                update,
                base_round=arrival.base_round,
                start=arrival.start,
                staleness=self._context.round - arrival.base_round,
                seconds=arrival.arrived - arrival.sent,
            )
            self._staleness[update.staleness] += 1
        if self._strategy.is_linear:
            self._take(reply.stream, update)
        else:
            self._waiting[reply.client] = update

    def concluded(
        self, cohort: Sequence[str], rejected: Sequence[Rejection], ledger: Ledger
    ) -> RoundRecord:
        """Let the strategy make its next model of what came, and book the round.

        Parameters
        ----------
        cohort : sequence of str
            Who was asked.
        rejected : sequence of Rejection
            Booked before.
        ledger : Ledger
        """
        context, accepted = self._context, self._context.roster.in_order(self.accepted)
        figures = self._aggregated(cohort)
        for reply in accepted:
            ledger.trained(reply, context.round)
        examples = sum(reply.num_examples for reply in accepted)
        losses = sum(r.num_examples * r.metrics.get("train_loss", 0.0) for r in accepted)
        return RoundRecord(
            round=context.round,
            train_loss=losses / examples if examples else None,
            bytes_up=sum(reply.bytes_up for reply in accepted),
            bytes_down=sum(reply.bytes_down for reply in accepted),
            clients_asked=len(cohort),
            clients_answered=len(accepted),
            rejected=tuple(context.roster.in_order(rejected)),
            remarks=tuple(remark for reply in accepted for remark in reply.remarks),
            method=figures,
            cohort=tuple(cohort),
            answered=tuple(reply.client for reply in accepted),
            staleness=dict(sorted(self._staleness.items())),
        )

    def _aggregated(self, cohort: Sequence[str]) -> Mapping[str, float]:
        """Conclude the round's aggregation; return its figures, none if nothing came."""
        for client in cohort:
            if client in self._waiting:
                self._take("", self._waiting.pop(client))
        if not self._streams:
            return {}
        place = self._context.roster.places
        ordered = sorted(self._streams, key=lambda stream: place.get(stream, -1))
        first, exact = self._streams[ordered[0]], self._exact[ordered[0]]
        for stream in ordered[1:]:
            first.merge(self._streams[stream])
            exact.merge(self._exact[stream])
        self._strategy.conclude(first, self._context)
        return {**exact.figures(), **self._strategy.figures()}

    def _take(self, stream: str, update: Update) -> None:
        if stream not in self._streams:
            self._streams[stream] = self._strategy.begin(self._context)
            self._exact[stream] = ExactMean(self._strategy, self._context)
        self._streams[stream].add(update)
        self._exact[stream].add(update)
