"""Participation models: who can answer in a round.

A model says who is there when a round begins, who of those asked leaves before answering, and how
likely an answer is in the long run. All of it is a function of the seed.
"""

from __future__ import annotations

from strategies.participation.always import Always
from strategies.participation.base import CommonOptions, Model, Participation
from strategies.participation.bernoulli import Bernoulli
from strategies.participation.cyclic import Cyclic
from strategies.participation.events import Events
from strategies.participation.factory import (
    BY_SECOND,
    PARTICIPATIONS,
    make_participation,
    participation_names,
    participation_option_errors,
)
from strategies.participation.markov import Markov
from strategies.participation.spreads import SPREADS, Spread
from strategies.participation.ticks import ByClock
from strategies.participation.trace import Trace

__all__ = [
    "BY_SECOND",
    "PARTICIPATIONS",
    "SPREADS",
    "Always",
    "Bernoulli",
    "ByClock",
    "Cyclic",
    "Markov",
    "Events",
    "Model",
    "CommonOptions",
    "Participation",
    "Spread",
    "Trace",
    "make_participation",
    "participation_names",
    "participation_option_errors",
]
