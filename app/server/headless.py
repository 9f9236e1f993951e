"""Runs whose server has no model: every node has a base of its own, and only class rows travel."""

from __future__ import annotations

import numpy as np

from app.settings import Settings
from clients.model_args import feature_dim
from models.randomness import derive_generator
from models.schema import NamedArrays
from strategies.base import Strategy
from strategies.transport.roster import Roster


def needs_model(settings: Settings, strategy: Strategy, roster: Roster) -> bool:
    """Say whether the server has to have the run's base model.

    It has not where the method reads no more of it than the size of a class row, the settings say
    that size, and each client that is there states a base of its own.
    """
    told = bool(feature_dim(settings.model_options)) and all(c.variant for c in roster)
    return strategy.needs_model or not told or bool(settings.baselines)


def head_alone(settings: Settings, labels: int) -> NamedArrays:
    """Return first values of a head on features of the length that the settings say.

    It stands for the first adapter where there is no model to take one from.
    """
    features = feature_dim(settings.model_options)
    bound = features**-0.5
    weight = derive_generator(settings.seed, "head").uniform(-bound, bound, (labels, features))
    return NamedArrays.of(
        {
            "classifier.weight": weight.astype(np.float32),
            "classifier.bias": np.zeros(labels, np.float32),
        },
        {"kind": "head", "base": "", "labels": labels, "head": "classifier"},
    )
