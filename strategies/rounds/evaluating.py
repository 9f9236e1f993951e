"""Evaluation after a round: every client that can be reached, and the server's own test set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from models.schema import NamedArrays
from strategies.rounds.fairness import summarise_fairness
from strategies.rounds.frame import RoundFrame
from strategies.rounds.record import (
    RoundRecord,
    counts_of_classes,
    summarise_clients,
    summarise_clusters,
    summarise_groups,
    summarise_others,
)
from strategies.rounds.truth import agreement_with_truth
from strategies.transport.exchange import Rejection, Reply

EvaluateServer = Callable[[int, NamedArrays], Mapping[str, float]]


class Evaluation:
    """Adds scores to the record of a round, where it is due.

    Parameters
    ----------
    frame : RoundFrame
    evaluate_server : callable, optional
        ``(round, arrays) -> metrics`` on the server's test set.
    """

    def __init__(self, frame: RoundFrame, evaluate_server: EvaluateServer | None) -> None:
        self._frame = frame
        self._evaluate_server = evaluate_server

    def added(self, record: RoundRecord) -> RoundRecord:
        """Return the record with the scores of the round."""
        frame, strategy = self._frame, self._frame.strategy
        replies: dict[str, Reply] = {}
        server: Mapping[str, float] = {}
        remarks = list(record.remarks)
        rejected = list(record.rejected)
        context = frame.context(record.round)
        if self._due(record.round):
            answers = frame.ask("evaluate", list(context.roster.reachable), context)
            for item in context.roster.in_order(answers):
                if isinstance(item, Rejection):
                    rejected.append(item)
                    frame.ledger.refused(item)
                else:
                    replies[item.client] = item
                    remarks += item.remarks
                    frame.ledger.evaluated(item, record.round)
                    strategy.heard(item.client, item.metrics)
            if self._evaluate_server is not None:
                server = self._evaluate_server(record.round, strategy.model)
        assignment = strategy.assignment
        fairness = summarise_fairness(replies)
        frame.ledger.compared(fairness)
        return replace(
            record,
            server_metrics=dict(server),
            client_metrics=summarise_clients(replies),
            groups={**summarise_groups(replies), **fairness.groups},
            fairness=fairness,
            classes=counts_of_classes(replies),
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

    def _due(self, server_round: int) -> bool:
        options = self._frame.options
        every = options.evaluate_every
        last = server_round == options.num_rounds
        return last or server_round == 0 or (every > 0 and server_round % every == 0)
