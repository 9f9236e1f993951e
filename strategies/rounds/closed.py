"""Rounds that everybody who was asked closes, or the end of the time."""

from __future__ import annotations

from logging import WARNING

from flwr.supercore import log

from models.errors import ParticipationError
from strategies.rounds.context import RoundContext
from strategies.rounds.frame import DROPOUT, RoundFrame, dropouts
from strategies.rounds.gathering import Gathering
from strategies.rounds.record import RoundRecord
from strategies.transport.exchange import Rejection

ATTEMPTS = 3


class ClosedRounds:
    """Synchronous training; a round below the quorum is tried again.

    Parameters
    ----------
    frame : RoundFrame
    """

    def __init__(self, frame: RoundFrame) -> None:
        self._frame = frame

    def train(self, server_round: int) -> RoundRecord:
        """Train one round.

        Raises
        ------
        ParticipationError
            It stayed below the quorum in three attempts.
        """
        frame = self._frame
        rejected: list[Rejection] = []
        for attempt in range(1, ATTEMPTS + 1):
            frame.wait_for_quorum()
            frame.forget(server_round)
            context = frame.context(server_round)
            cohort = list(frame.strategy.sample(context))
            gathering, lost = self._gathered(cohort, context)
            rejected += lost
            answered = len(gathering.accepted)
            needed = self._needed(context, len(cohort) - sum(r.code == DROPOUT for r in lost))
            if answered >= needed:
                return gathering.concluded(cohort, rejected, frame.ledger)
            log(
                WARNING,
                "round %d: %d of %d answered, %d needed (attempt %d of %d)",
                *(server_round, answered, len(cohort), needed, attempt, ATTEMPTS),
            )
        codes = sorted({f"{r.code} ({r.detail})" for r in rejected})
        raise ParticipationError(
            f"round {server_round}: {answered} of {len(cohort)} clients answered, "
            f"quorum is {frame.options.quorum}; tried {ATTEMPTS} times: {'; '.join(codes[:5])}"
        )

    def _gathered(
        self, cohort: list[str], context: RoundContext
    ) -> tuple[Gathering, list[Rejection]]:
        """Ask a cohort; return what came, and what did not."""
        frame = self._frame
        lost = dropouts(cohort, context)
        for rejection in lost:
            frame.rejected(rejection)
        leaving = {rejection.client for rejection in lost}
        gathering = Gathering(frame.strategy, context)
        for item in frame.ask("train", [c for c in cohort if c not in leaving], context):
            if isinstance(item, Rejection):
                lost.append(item)
                frame.rejected(item)
            else:
                gathering.add(item)
            del item
        return gathering, lost

    def _needed(self, context: RoundContext, staying: int) -> int:
        """Return how many answers make the round count.

        A scenario in which fewer than the quorum are there is not a failure: nothing else would
        come of asking again.
        """
        quorum = max(1, self._frame.options.quorum)
        return quorum if context.participation.everybody else min(quorum, staying)
