"""The public face: what plug-ins, notebooks and other people's ServerApps import."""

from app.plugins.method import Method
from app.registry import Registry, registry
from app.server.federation import Federation, open_federation
from app.settings import Settings, parse_run_config
from clients.objectives import AroundObjective, CrossEntropy, FedProx, Objective
from clients.trainers import Around, ClientRound, Outcome, Trainer
from models.adapted import AdaptedModel
from models.errors import BouquetError
from models.schema import NamedArrays, Schema
from strategies.aggregation.mean import WeightedMean
from strategies.base import Aggregation, Options, State, Strategy, Wrapper
from strategies.clock.population import make_population
from strategies.clock.scenario import Scenario
from strategies.clock.virtual_grid import VirtualGrid
from strategies.fedavg import FedAvg, FedAvgOptions
from strategies.fedopt import FedOpt
from strategies.participation import make_participation
from strategies.rounds.context import Instruction, RoundContext, Update
from strategies.rounds.loop import RoundLoop
from strategies.rounds.options import LoopOptions
from strategies.stale.fedstale import FedStale
from strategies.transport.client_grid import ClientGrid

__all__ = [
    "AdaptedModel",
    "Aggregation",
    "Around",
    "AroundObjective",
    "BouquetError",
    "ClientGrid",
    "ClientRound",
    "CrossEntropy",
    "FedAvg",
    "FedAvgOptions",
    "FedOpt",
    "FedProx",
    "FedStale",
    "Federation",
    "Instruction",
    "LoopOptions",
    "Method",
    "NamedArrays",
    "Objective",
    "Options",
    "Outcome",
    "Registry",
    "RoundContext",
    "RoundLoop",
    "Scenario",
    "Schema",
    "Settings",
    "State",
    "Strategy",
    "Trainer",
    "Update",
    "VirtualGrid",
    "WeightedMean",
    "Wrapper",
    "make_participation",
    "make_population",
    "open_federation",
    "parse_run_config",
    "registry",
]
