"""What tests of methods need, built in or from another package: the contract, and runs in process.

`RULE_CHECKS` is the contract of server halves, in milliseconds and without a model; `RUN_CHECKS`
that of both halves together, in a few seconds.
"""

from fedbouquet.testing.bases import tiny_base
from fedbouquet.testing.clocked import ClockedExchange
from fedbouquet.testing.federation import (
    CLIENTS,
    SCHEMA,
    asked_for,
    models,
    round_context,
    started,
    step,
    update,
)
from fedbouquet.testing.grid import LocalGrid
from fedbouquet.testing.instant import InstantClients
from fedbouquet.testing.rules import RULE_CHECKS, RuleCheck
from fedbouquet.testing.runs import Killed, kill_at, outcome, rounds, run_here, small
from fedbouquet.testing.whole import RUN_CHECKS, RunCheck

__all__ = [
    "CLIENTS",
    "RULE_CHECKS",
    "RUN_CHECKS",
    "SCHEMA",
    "ClockedExchange",
    "InstantClients",
    "Killed",
    "LocalGrid",
    "RuleCheck",
    "RunCheck",
    "asked_for",
    "kill_at",
    "models",
    "outcome",
    "round_context",
    "rounds",
    "run_here",
    "small",
    "started",
    "step",
    "tiny_base",
    "update",
]
