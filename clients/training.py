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
from clients.preparation import IGNORED, TARGETS, Batch, Inputs
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
        Class numbers; of texts `IGNORED`, as each token has its own.
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

    def mass(self, rows: npt.NDArray[np.int64]) -> float:
        """Return the number of targets that the mean loss of some rows goes over."""
        return float(self.inputs.mass(rows) if self.weights is None else len(rows))

    @property
    def examples(self) -> int:
        """How many of the holder's examples there are; packed texts share a row."""
        return self.inputs.examples

    @property
    def of_texts(self) -> bool:
        """Whether each token has a target, and no row a label."""
        return bool(len(self.targets)) and bool(self.targets[0] == IGNORED)

    def batch(
        self, rows: npt.NDArray[np.int64], device: torch.device
    ) -> tuple[Batch, torch.Tensor]:
        """Return the model's inputs for some rows, and their targets.

        Targets are class numbers, shape (rows,), or of texts the token that comes next at each
        place, shape (rows, length), `IGNORED` where none is learned.
        """
        batch = self.inputs.batch(rows, device)
        if TARGETS in batch:
            return batch, batch.pop(TARGETS)
        return batch, torch.from_numpy(self.targets[rows]).to(device)

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


def pieces(rows: npt.NDArray[np.int64], recipe: Recipe) -> list[npt.NDArray[np.int64]]:
    """Return the parts of a batch that are computed one after the other."""
    return np.array_split(rows, min(recipe.accumulation, len(rows)))


def losses_an_epoch(count: int, recipe: Recipe) -> int:
    """Return how often an objective is asked for its loss in one pass over `count` examples."""
    size = max(1, min(recipe.batch_size, count))
    whole, rest = divmod(count, size)
    return whole * min(recipe.accumulation, size) + min(recipe.accumulation, rest)


_OPTIMIZERS: Mapping[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def make_optimizer(model: AdaptedModel, recipe: Recipe) -> torch.optim.Optimizer:
    """Return a fresh optimiser over the model's flat buffer."""
    given: dict[str, object] = {k.replace("-", "_"): v for k, v in recipe.optimizer_args}
    if recipe.optimizer != "sgd":
        given["betas"] = (given.pop("beta_1", 0.9), given.pop("beta_2", 0.999))
    kind = _OPTIMIZERS[recipe.optimizer]
    return kind([model.flat], lr=recipe.learning_rate, **given)  # type: ignore[call-arg, arg-type]


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
    model.keep_activations(not recipe.gradient_checkpointing)
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
        gradient.zero_()
        mean = 0.0
        parts = pieces(rows, recipe)
        for part in parts:
            loss = _loss(model, data, part, objective)
            if len(parts) > 1:
                loss = loss * (data.mass(part) / max(1.0, data.mass(rows)))
            loss.backward()  # type: ignore[no-untyped-call]
            mean += float(loss.detach())
        objective.adjust_gradient(model, reference)
        for place in frozen:
            gradient[place] = 0.0
        optimizer.step()
        for place in frozen:  # weight decay moves numbers without a gradient
            model.flat.data[place] = reference[place]
        total += mean * len(rows)
        seen += len(rows)
    return Trained(model.read(), total / max(1, seen), seen)


def _loss(
    model: AdaptedModel, data: Prepared, rows: npt.NDArray[np.int64], objective: Objective
) -> torch.Tensor:
    """Return the mean loss of some examples, weighted where they have weights."""
    batch, targets = data.batch(rows, model.device)
    if data.weights is None:
        return objective.loss(model, batch, targets)
    weights = torch.from_numpy(data.weights[rows]).to(model.device)
    return (objective.losses(model, batch, targets) * weights).mean()


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
