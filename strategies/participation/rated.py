"""What models with a probability a client share."""

from __future__ import annotations

from collections.abc import Sequence

from models.errors import ConfigurationError
from strategies.participation.base import CommonOptions, Model
from strategies.participation.spreads import Spread
from strategies.transport.roster import Client


class Rated(Model):
    """Base of models in which client i is there a share p_i of the rounds.

    Parameters
    ----------
    options : CommonOptions
        The model's own.
    seed : int
        The run's seed.
    spread : Spread
        The rule that gives each p_i.
    labels : sequence of str
        All labels of the task, in order; only spreads by label read them.

    Raises
    ------
    ConfigurationError
        If the spread needs labels and there are none.
    """

    def __init__(
        self, options: CommonOptions, seed: int, spread: Spread, labels: Sequence[str] = ()
    ) -> None:
        super().__init__(options, seed)
        if spread.by_label and not labels:
            raise ConfigurationError(
                f"participation-args: {type(spread).__name__} spreads participation by label, and "
                "the task's labels are not known; name them in labels, or take spread = 'uniform'"
            )
        self.spread = spread
        self.labels = tuple(labels)
        self._shares: dict[str, tuple[Client, float]] = {}

    def share(self, client: Client) -> float:
        """Return p_i, in [0, 1]."""
        known = self._shares.get(client.id)
        # A client that comes back with other data has another p_i.
        if known is None or known[0] is not client:
            p = self.spread.probability(client, self.seed, self.labels)
            self._shares[client.id] = known = (client, p)
        return known[1]

    def availability(self, client: Client) -> float:
        return self.share(client)
