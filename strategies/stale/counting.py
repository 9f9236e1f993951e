"""A wrapper that knows how often each client takes part (`strategies.stale.intervals`)."""

from __future__ import annotations

from models.schema import NamedArrays
from strategies import base
from strategies.stale.blending import Blending
from strategies.stale.intervals import Intervals


class Counting(Blending):
    """Base of methods that learn participation as the run goes."""

    @property
    def cutoff(self) -> int:
        """Longest interval in rounds; 0 = none."""
        return 0

    def initialise(self, arrays: NamedArrays) -> None:
        """Start without intervals."""
        super().initialise(arrays)
        self.intervals = Intervals(self.cutoff)

    def forget(self, client: str, server_round: int) -> None:
        """Let go of a client's intervals, and of all else that there is of it."""
        super().forget(client, server_round)
        self.intervals.forget(client)

    def state(self) -> base.State:
        """Return the intervals beside the rest."""
        return self.intervals.state().nested("intervals") | super().state()

    def restore(self, state: base.State) -> None:
        """Take them back."""
        self.intervals.restore(state.under("intervals"))
        super().restore(state)
