"""When the trainings of a round were sent, came and counted, on the exchange's clock."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from strategies.rounds.record import RoundRecord
from strategies.transport.exchange import ANSWERED, Arrival, OpenExchange, Training


class Timing:
    """Adds to each round's record what the clock says of it.

    Parameters
    ----------
    exchange : OpenExchange
    """

    def __init__(self, exchange: OpenExchange) -> None:
        self._exchange = exchange
        # Answers that no round has taken yet.
        self._waiting: dict[str, Training] = {}

    def resume(self, waiting: Iterable[Arrival]) -> None:
        """Take over the answers that waited when the run was stopped."""
        self._waiting = {
            a.client: Training(a.client, a.base_round, a.sent, a.arrived, ANSWERED) for a in waiting
        }

    def added(self, record: RoundRecord) -> RoundRecord:
        """Return a round's record, made at its close, with its times."""
        closed = self._exchange.now()
        ended: list[Training] = []
        for training in self._exchange.trainings():
            if training.outcome == ANSWERED:
                self._waiting[training.client] = training
            else:
                ended.append(training)
        taken = [self._waiting.pop(c) for c in record.answered if c in self._waiting]
        for lost in record.rejected:
            if lost.client in self._waiting:
                ended.append(replace(self._waiting.pop(lost.client), outcome=lost.code))
        ordered = self._exchange.roster.in_order([*taken, *ended])
        stale = Counter(record.round - training.base_round for training in taken)
        return replace(
            record,
            virtual_seconds=closed if self._exchange.virtual else None,
            idle_seconds=math.fsum(closed - t.arrived for t in taken) if taken else None,
            staleness=dict(sorted(stale.items())),
            trainings=tuple(sorted(ordered, key=lambda training: training.arrived)),
        )
