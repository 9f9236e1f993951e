"""The evaluation of a model on one holder's examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from clients.training import Prepared
from models.adapted import AdaptedModel
from models.errors import ClientError
from models.fairness.counts import Cell, GroupCounts
from models.messages import CLASSES
from models.schema import Vector

EVALUATION_BATCH = 256
# Of a batch of texts every place has a logit for every token: at most 128 MiB of them.
_LOGITS_AT_ONCE = 1 << 25
_LARGEST_EXPONENT = 80.0


@dataclass(frozen=True)
class Evaluated:
    """Figures of one holder's test part.

    Attributes
    ----------
    loss, accuracy : float
        Of texts those of a token.
    macro_f1 : float or None
        None for texts.
    examples : int
    counts : GroupCounts or None
        What was counted of each group, where the data have group columns.
    classes : mapping of int to (int, int)
        Correct and all examples of each class that is there.
    others : mapping
        Other models, or other ways to classify, of the same holder, by name.
    said : mapping
        What the method's client half says beside.
    """

    loss: float
    accuracy: float
    macro_f1: float | None
    examples: int
    counts: GroupCounts | None = None
    classes: Mapping[int, tuple[int, int]] = field(default_factory=dict)
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
        """What a client tells of its classes and groups."""
        classes: dict[str, object] = {str(c): list(pair) for c, pair in self.classes.items()}
        told: dict[str, object] = {CLASSES: classes} if classes else {}
        if self.counts is None:
            return told
        if self.macro_f1 is None:
            return {"group_counts": self.counts.to_json()}
        groups = {c: {v: list(n) for v, n in values.items()} for c, values in self.groups.items()}
        return {**told, "groups": groups, "group_counts": self.counts.to_json()}

    @property
    def metrics(self) -> dict[str, float]:
        """The figures by name, loss and accuracy of the others, and what is said beside."""
        own = {"loss": self.loss, "accuracy": self.accuracy}
        if self.macro_f1 is None:
            own["perplexity"] = math.exp(min(self.loss, _LARGEST_EXPONENT))
        else:
            own["macro_f1"] = self.macro_f1
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
def outputs(model: AdaptedModel, data: Prepared, vector: Vector) -> torch.Tensor:
    """Return the logits of adapter numbers on one holder's examples, shape (n, classes), float32.

    Raises
    ------
    ClientError
        ``empty``, if there are no examples, ``labels`` if they have none.
    """
    if data.of_texts:
        raise ClientError("labels", "this method compares classes, and texts have none")
    return torch.cat(
        list(_by_batch(model, data, vector, lambda batch: model.module(**batch).logits))
    )


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

    Raises
    ------
    ClientError
        ``empty``, if there are no examples.
    """
    if data.of_texts:
        return _of_texts(model, data, vector)
    if rule is None:
        return scored(outputs(model, data, vector), data)
    chosen: list[torch.Tensor] = []
    classify = rule.classify

    def logits(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        by_head, by_rule = classify(model, batch)
        chosen.append(by_rule.cpu())
        return by_head

    with torch.no_grad():
        found = torch.cat(list(_by_batch(model, data, vector, logits)))
    head, ruled = scored(found, data), scored(found, data, torch.cat(chosen).numpy())
    if rule.first:
        return replace(ruled, others={"head": head})
    return replace(head, others={rule.name: ruled})


@torch.no_grad()
def _of_texts(model: AdaptedModel, data: Prepared, vector: Vector) -> Evaluated:
    """Score every token that is to be learned, each counting once."""
    if len(data) == 0:
        raise ClientError("empty", "the client has no examples to evaluate")
    model.load(vector)
    model.module.eval()
    tokens, hits, losses = (np.zeros(len(data), kind) for kind in (np.int64, np.int64, np.float64))
    vocabulary = max(1, int(model.module.config.get_text_config().vocab_size))
    every = np.arange(len(data))
    at_once = max(1, _LOGITS_AT_ONCE // (vocabulary * data.inputs.length(every)))
    for start in range(0, len(data), at_once):
        rows = every[start : start + at_once]
        batch, targets = data.batch(rows, model.device)
        logits = model.module(**batch).logits.float()
        counted = targets >= 0
        of_tokens = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), reduction="none"
        ).view(targets.shape)
        tokens[rows] = counted.sum(-1).cpu().numpy()
        losses[rows] = of_tokens.double().sum(-1).cpu().numpy()
        hits[rows] = ((logits.argmax(-1) == targets) & counted).sum(-1).cpu().numpy()
    counts = None
    if data.groups:
        cells: dict[tuple[str, ...], Cell] = {}
        for row, values in enumerate(zip(*data.groups.values(), strict=True)):
            cell = Cell.of_tokens(int(tokens[row]), int(hits[row]), float(losses[row]))
            cells[values] = cells[values] + cell if values in cells else cell
        counts = GroupCounts(tuple(data.groups), dict(sorted(cells.items())))
    total = int(tokens.sum())
    return Evaluated(
        float(losses.sum()) / total, float(hits.sum() / total), None, data.examples, counts
    )


def _by_batch(
    model: AdaptedModel,
    data: Prepared,
    vector: Vector,
    logits: Callable[[Mapping[str, torch.Tensor]], torch.Tensor],
) -> Iterator[torch.Tensor]:
    if len(data) == 0:
        raise ClientError("empty", "the client has no examples to evaluate")
    model.load(vector)
    model.module.eval()
    for start in range(0, len(data), EVALUATION_BATCH):
        rows = np.arange(start, min(start + EVALUATION_BATCH, len(data)))
        yield logits(data.inputs.batch(rows, model.device)).float().cpu()


def scored(
    logits: torch.Tensor, data: Prepared, predicted: npt.NDArray[np.int64] | None = None
) -> Evaluated:
    """Score predictions on one holder's examples.

    Parameters
    ----------
    logits : tensor, shape (n, classes)
        Or logarithms of probabilities.
    data : Prepared
        At least one example.
    predicted : ndarray, shape (n,), optional
        Class numbers; those of the largest logits by default.
    """
    targets = torch.from_numpy(data.targets)
    loss = float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
    named = logits.argmax(-1).numpy() if predicted is None else predicted
    counts = None
    if data.groups:
        # What another rule decides by is not these margins: of it only the answers count.
        margins = (logits[:, 1] - logits[:, 0]).numpy() if predicted is None else None
        counts = GroupCounts.of(data.groups, data.targets, named, logits.shape[-1], margins)
    right = named == data.targets
    return Evaluated(
        loss / len(data),
        float(right.mean()),
        macro_f1(data.targets, named),
        len(data),
        counts,
        {
            int(c): (int(right[data.targets == c].sum()), int((data.targets == c).sum()))
            for c in np.unique(data.targets)
        },
    )


def macro_f1(targets: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> float:
    """Return the mean over classes, true or predicted, of the F1 score (as scikit-learn's)."""
    classes = np.union1d(targets, predicted)
    scores = []
    for c in classes:
        hits = int(((targets == c) & (predicted == c)).sum())
        named = int((targets == c).sum() + (predicted == c).sum())
        scores.append(2 * hits / named)
    return float(np.mean(scores))
