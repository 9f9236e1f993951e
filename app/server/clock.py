"""The clock of a run: the exchange that the settings ask for, and who is there on it."""

from __future__ import annotations

from app.server.federation import Federation
from app.settings import Settings
from strategies.base import Strategy
from strategies.clock.population import make_population
from strategies.clock.scenario import Scenario
from strategies.clock.virtual_grid import VirtualGrid
from strategies.clock.work import LocalWork
from strategies.participation import Participation, make_participation
from strategies.pooled import Pooled
from strategies.rounds.context import EVERYBODY
from strategies.transport.client_grid import ClientGrid


def make_exchange(
    federation: Federation, settings: Settings, strategy: Strategy
) -> tuple[ClientGrid | VirtualGrid, Participation]:
    """Return what carries requests to the clients, and who can be asked when.

    A virtual clock begins anew with every call. The baseline that pools all data is outside any
    scenario: it is nobody's device, and always there.
    """
    if isinstance(strategy, Pooled):
        return federation.grid, EVERYBODY
    labels = federation.plan.labels
    participation = make_participation(
        settings.participation, settings.participation_args, settings.seed, labels
    )
    if settings.clock == "real":
        return federation.grid, participation
    grid = VirtualGrid(
        federation.grid,
        Scenario(
            make_population(settings.population, settings.population_args, settings.seed, labels),
            participation,
            LocalWork(settings.local_epochs, settings.local_steps, settings.batch_size),
            settings.wire_dtype,
        ),
    )
    return grid, grid.presence
