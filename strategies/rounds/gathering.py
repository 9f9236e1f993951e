"""A round's updates on their way into the aggregation; arrival order never shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from strategies.hooks import Aggregation, Hooks
from strategies.rounds.context import RoundContext, Update
from strategies.rounds.faithfulness import ExactMean
from strategies.transport.exchange import Reply


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
    exact : ExactMean or None
        What the result should be, where the method averages LoRA adapters.
    """

    def __init__(self, strategy: Hooks, context: RoundContext) -> None:
        self._strategy = strategy
        self._context = context
        self._streams: dict[str, Aggregation] = {}
        self._exact: dict[str, ExactMean] = {}
        self._waiting: dict[str, Reply] = {}
        self.accepted: list[Reply] = []
        self.exact: ExactMean | None = None

    def add(self, reply: Reply) -> None:
        """Take one reply; of its arrays nothing is kept where the rule allows it."""
        self.accepted.append(replace(reply, arrays=None))
        if self._strategy.is_linear:
            self._take(reply.stream, reply)
        else:
            self._waiting[reply.client] = reply

    def result(self, cohort: Sequence[str]) -> Aggregation | None:
        """Return the round's aggregation, ready for `conclude`; None if nothing came."""
        for client in cohort:
            if client in self._waiting:
                self._take("", self._waiting.pop(client))
        self.accepted = self._context.roster.in_order(self.accepted)
        if not self._streams:
            return None
        place = {client: i for i, client in enumerate(self._context.roster.ids)}
        ordered = sorted(self._streams, key=lambda stream: place.get(stream, -1))
        first, exact = self._streams[ordered[0]], self._exact[ordered[0]]
        for stream in ordered[1:]:
            first.merge(self._streams[stream])
            exact.merge(self._exact[stream])
        self.exact = exact
        return first

    def _take(self, stream: str, reply: Reply) -> None:
        if reply.arrays is None:
            return
        if stream not in self._streams:
            self._streams[stream] = self._strategy.begin(self._context)
            self._exact[stream] = ExactMean(self._strategy, self._context)
        update = Update(
            client=reply.client,
            arrays=reply.arrays,
            num_examples=reply.num_examples,
            metrics=reply.metrics,
            notes=reply.notes,
            base_round=self._context.round,
        )
        self._streams[stream].add(update)
        self._exact[stream].add(update)
