"""The local training loop and the evaluation of a model on one holder's examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from clients.objectives import Objective
from clients.plan import Recipe
from clients.preparation import Inputs
from models.adapted import AdaptedModel
from models.errors import ClientError
from models.fairness.counts import GroupCounts
from models.schema import Schema, Vector

EVALUATION_BATCH = 256


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
    """

    inputs: Inputs
    targets: npt.NDArray[np.int64]
    groups: Mapping[str, list[str]]

    def __len__(self) -> int:
        return len(self.targets)


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
        loss = objective.loss(model, batch, targets)
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


@dataclass(frozen=True)
class Evaluated:
    """Figures of one holder's test part.

    Attributes
    ----------
    loss, accuracy, macro_f1 : float
    examples : int
    counts : GroupCounts or None
        What was counted of each group, where the data have group columns.
    others : mapping
        Other models, or other ways to classify, of the same holder, by name.
    said : mapping
        What the method's client half says beside.
    """

    loss: float
    accuracy: float
    macro_f1: float
    examples: int
    counts: GroupCounts | None = None
    others: Mapping[str, Evaluated] = field(default_factory=dict)
    said: Mapping[str, float] = field(default_factory=dict)

    @property
    def groups(self) -> dict[str, dict[str, tuple[int, int]]]:
        """Correct and all examples of each group: {column: {value: (correct, examples)}}."""
        if self.counts is None:
            return {}
        return {
            column: {
                value: (cell.correct, cell.examples)
                for (value,), cell in self.counts.by([column]).items()
            }
            for column in self.counts.columns
        }

    @property
    def notes(self) -> dict[str, object]:
        """What a client tells of its groups."""
        if self.counts is None:
            return {}
        groups = {c: {v: list(n) for v, n in values.items()} for c, values in self.groups.items()}
        return {"groups": groups, "group_counts": self.counts.to_json()}

    @property
    def metrics(self) -> dict[str, float]:
        """The three figures by name, loss and accuracy of the others, and what is said beside."""
        own = {"loss": self.loss, "accuracy": self.accuracy, "macro_f1": self.macro_f1}
        for name, other in self.others.items():
            own |= {f"loss_{name}": other.loss, f"accuracy_{name}": other.accuracy}
        return {**self.said, **own}


@dataclass(frozen=True)
class Rule:
    """Another way to classify than by the largest logit of the head.

    Attributes
    ----------
    name : str
    classify : callable
        ``(model, batch)``: the head's logits (batch, C), and the classes by the rule (batch,).
    first : bool
        Whether the rule is what counts and the head's accuracy is reported beside it, or the
        other way round.
    """

    name: str
    classify: Callable[
        [AdaptedModel, Mapping[str, torch.Tensor]], tuple[torch.Tensor, torch.Tensor]
    ]
    first: bool = True


@torch.no_grad()
def evaluate(
    model: AdaptedModel, data: Prepared, vector: Vector, rule: Rule | None = None
) -> Evaluated:
    """Evaluate adapter numbers on one holder's examples.

    Parameters
    ----------
    model : AdaptedModel
    data : Prepared
    vector : ndarray, shape (model.schema.size,)
    rule : Rule, optional
        Another way to classify beside the head; both are reported then.
    """
    if len(data) == 0:
        raise ClientError("empty", "the client has no test examples")
    model.load(vector)
    model.module.eval()
    loss = 0.0
    by_head = np.empty(len(data), dtype=np.int64)
    by_rule = np.empty_like(by_head)
    margins = np.empty(len(data), dtype=np.float32)
    for start in range(0, len(data), EVALUATION_BATCH):
        rows = np.arange(start, min(start + EVALUATION_BATCH, len(data)))
        batch = data.inputs.batch(rows, model.device)
        if rule is None:
            logits = model.module(**batch).logits
        else:
            logits, chosen = rule.classify(model, batch)
            by_rule[rows] = chosen.cpu().numpy()
        targets = torch.from_numpy(data.targets[rows]).to(model.device)
        loss += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
        by_head[rows] = logits.argmax(-1).cpu().numpy()
        margins[rows] = (logits[:, 1] - logits[:, 0]).float().cpu().numpy()
    classes = logits.shape[-1]
    head = _evaluated(data, by_head, loss / len(data), classes, margins)
    if rule is None:
        return head
    # What a rule decides by is not these margins: of it only the answers count.
    ruled = _evaluated(data, by_rule, loss / len(data), classes)
    if rule.first:
        return replace(ruled, others={"head": head})
    return replace(head, others={rule.name: ruled})


def _evaluated(
    data: Prepared,
    predicted: npt.NDArray[np.int64],
    loss: float,
    classes: int,
    margins: npt.NDArray[np.float32] | None = None,
) -> Evaluated:
    counts = None
    if data.groups:
        counts = GroupCounts.of(data.groups, data.targets, predicted, classes, margins)
    accuracy = float((predicted == data.targets).mean())
    return Evaluated(loss, accuracy, macro_f1(data.targets, predicted), len(data), counts)


def macro_f1(targets: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> float:
    """Return the mean over classes, true or predicted, of the F1 score (as scikit-learn's)."""
    classes = np.union1d(targets, predicted)
    scores = []
    for c in classes:
        hits = int(((targets == c) & (predicted == c)).sum())
        named = int((targets == c).sum() + (predicted == c).sum())
        scores.append(2 * hits / named)
    return float(np.mean(scores))
