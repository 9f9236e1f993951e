"""One holder's inputs and targets, and the local training loop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from clients.objectives import Objective
from clients.plan import Recipe
from clients.preparation import Inputs
from models.adapted import AdaptedModel
from models.errors import ClientError
from models.schema import Schema, Vector


@dataclass(frozen=True)
class Prepared:
    """One holder's inputs and targets.

    Attributes
    ----------
    inputs : Inputs
    targets : ndarray, shape (n,)
        Class numbers.
    groups : mapping
        For each group column the value of each row.
    weights : ndarray, shape (n,), or None
        Weight of each row in the training loss; None = 1.
    """

    inputs: Inputs
    targets: npt.NDArray[np.int64]
    groups: Mapping[str, list[str]]
    weights: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def joined(self, other: Prepared) -> Prepared:
        """Return these rows, then another's, of the same preparation; without weights."""
        groups = {c: [*values, *other.groups[c]] for c, values in self.groups.items()}
        targets = np.concatenate([self.targets, other.targets])
        return Prepared(self.inputs.joined(other.inputs), targets, groups)


@dataclass(frozen=True)
class Trained:
    """The outcome of local training: the adapter's numbers, the mean loss, examples seen."""

    vector: Vector
    loss: float
    examples: int


def batches(
    count: int, recipe: Recipe, generator: np.random.Generator
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield row numbers batch by batch: epochs in fresh orders, or a fixed number of steps."""
    size = min(recipe.batch_size, count)
    per_epoch = math.ceil(count / size)
    steps = recipe.local_steps or recipe.local_epochs * per_epoch
    while steps > 0:
        order = generator.permutation(count)
        for start in range(0, min(steps, per_epoch) * size, size):
            yield order[start : start + size]
        steps -= per_epoch


def make_optimizer(model: AdaptedModel, recipe: Recipe) -> torch.optim.Optimizer:
    """Return a fresh optimiser over the model's flat buffer."""
    given = dict(recipe.optimizer_args)
    rate = recipe.learning_rate
    if recipe.optimizer == "sgd":
        momentum, decay = given.get("momentum", 0.0), given.get("weight-decay", 0.0)
        return torch.optim.SGD([model.flat], lr=rate, momentum=momentum, weight_decay=decay)
    betas = (given.get("beta-1", 0.9), given.get("beta-2", 0.999))
    if recipe.optimizer == "adam":
        decay = given.get("weight-decay", 0.0)
        return torch.optim.Adam([model.flat], lr=rate, betas=betas, weight_decay=decay)
    decay = given.get("weight-decay", 0.01)
    return torch.optim.AdamW([model.flat], lr=rate, betas=betas, weight_decay=decay)


def train(
    model: AdaptedModel,
    data: Prepared,
    start: Vector,
    recipe: Recipe,
    objective: Objective,
    generator: np.random.Generator,
    trainable: Schema | None = None,
) -> Trained:
    """Train the adapter on one client's examples.

    Parameters
    ----------
    model : AdaptedModel
        Used and left trained; nothing of the client before stays in it.
    data : Prepared
    start : ndarray, shape (model.schema.size,)
        What the server sent.
    recipe : Recipe
    objective : Objective
    generator : numpy.random.Generator
        Of the order of batches, and of dropout.
    trainable : Schema, optional
        The arrays that may change; all by default. The others keep their numbers to the bit,
        whatever the optimiser does.

    Raises
    ------
    ClientError
        ``empty``, if there is nothing to train on.
    """
    if len(data) == 0:
        raise ClientError("empty", "the client has no training examples")
    torch.manual_seed(int(generator.integers(2**62)))
    model.load(start)
    reference = model.flat.detach().clone()
    gradient = model.flat.grad
    if gradient is None:
        raise ClientError("model", "the model has no gradient buffer")
    frozen = _frozen(model, trainable)
    optimizer = make_optimizer(model, recipe)
    if not model.module.training:  # walking all modules costs as much as a small layer
        model.module.train()
    total, seen = 0.0, 0
    for rows in batches(len(data), recipe, generator):
        batch = data.inputs.batch(rows, model.device)
        targets = torch.from_numpy(data.targets[rows]).to(model.device)
        gradient.zero_()
        if data.weights is None:
            loss = objective.loss(model, batch, targets)
        else:
            weights = torch.from_numpy(data.weights[rows]).to(model.device)
            loss = (objective.losses(model, batch, targets) * weights).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        objective.adjust_gradient(model, reference)
        for place in frozen:
            gradient[place] = 0.0
        optimizer.step()
        for place in frozen:  # weight decay moves numbers without a gradient
            model.flat.data[place] = reference[place]
        total += float(loss.detach()) * len(rows)
        seen += len(rows)
    return Trained(model.read(), total / max(1, seen), seen)


def _frozen(model: AdaptedModel, trainable: Schema | None) -> list[slice]:
    """Return the places of the flat buffer that must not change, neighbours joined."""
    if trainable is None:
        return []
    joined: list[slice] = []
    for key, (place, _) in model.schema.slices.items():
        if key in trainable.slices:
            continue
        if joined and joined[-1].stop == place.start:
            joined[-1] = slice(joined[-1].start, place.stop)
        else:
            joined.append(place)
    return joined
