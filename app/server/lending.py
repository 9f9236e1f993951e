"""The clients' training, lent to methods that compute it on the server."""

from __future__ import annotations

import math
from logging import WARNING
from typing import TYPE_CHECKING

from flwr.supercore import log

from app.server.federation import Federation
from app.server.planning import recipe
from app.settings import Settings
from clients.preparation import ImagePreparation
from models.adapters import make_adapter
from models.errors import ConfigurationError
from models.inversion.training import Pace
from strategies.base import Strategy, layers

if TYPE_CHECKING:
    from models.inversion.unrolled import Unrolled


def lend_training(federation: Federation, settings: Settings, strategy: Strategy) -> None:
    """Give the clients' training to those methods of a composition that compute it.

    Raises
    ------
    ConfigurationError
        It cannot be followed, or its method refuses the size; says why.
    """
    borrowers = [layer for layer in layers(strategy) if layer.needs_client_training]
    if not borrowers:
        return
    errors = _errors(federation, settings)
    if errors:
        raise ConfigurationError([f"{settings.strategy}: {error}" for error in errors])
    training = client_training(federation, settings)
    for borrower in borrowers:
        borrower.lend(training)
    log(
        WARNING,
        "%s rebuilds data of the clients from their updates, on this server and in its "
        "checkpoints: use it only with their consent",
        settings.strategy,
    )


def _errors(federation: Federation, settings: Settings) -> list[str]:
    errors = []
    if federation.plan.kind != "image":
        errors.append(
            f"data of kind '{federation.plan.kind}' are not continuous, so that no gradient leads "
            "to them; only images can be rebuilt"
        )
    if settings.optimizer != "sgd" or settings.optimizer_args:
        errors.append(
            "the server follows plain SGD steps; take optimizer = 'sgd' without optimizer-args "
            f"(found '{settings.optimizer}')"
        )
    if federation.plan.objective != "cross-entropy":
        errors.append(f"the server follows cross-entropy, not '{federation.plan.objective}'")
    if make_adapter(settings.adapter, dict(settings.adapter_args)).takes_groups:
        errors.append(f"adapter = '{settings.adapter}' reads groups, which are not rebuilt")
    if settings.norm_policy == "clip":
        errors.append("norm-policy = 'clip' cuts the updates that data are sought for")
    return errors


def client_training(federation: Federation, settings: Settings) -> Unrolled:
    """Return the clients' training as the settings have it, on the server's model of images."""
    from models.inversion.unrolled import Box, Unrolled, network

    model, how = federation.model, recipe(settings)
    if model is None:
        raise ConfigurationError(f"{settings.strategy}: the server has no model to train")
    preparation = ImagePreparation.of(federation.base.folder)

    def pace(examples: int, server_round: int) -> Pace:
        epoch = math.ceil(max(1, examples) / how.batch_size)
        steps = how.local_steps or how.local_epochs * epoch
        return Pace(steps, how.at(server_round).learning_rate)

    box = Box(preparation.shape, *preparation.bounds)
    classes = len(federation.plan.labels)
    return Unrolled(network(model), model.schema, box, classes, pace, model.device)
