"""A client's SGD unrolled, with gradients in its data; the search for data that give an update.

    LocalUpdate(w; D):  w <- w - lr grad mean_{(x, y) in D} CE(logits(w, x), softmax(y)),   K times
    D_rec = arg min_D  distance(LocalUpdate(w; D) - w, Delta)

All of D is one batch, as in the authors' code; x stays within what inputs can be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.features import features, last_layer
from models.inversion.training import Array, Pace, Search, Synthetic
from models.schema import Schema, Vector

if TYPE_CHECKING:
    from models.adapted import AdaptedModel


@dataclass(frozen=True)
class Box:
    """What an input can be.

    Attributes
    ----------
    shape : tuple of int
        Of one input.
    low, high : ndarray
        Least and largest numbers; of a shape that goes with `shape`.
    """

    shape: tuple[int, ...]
    low: Array
    high: Array


@dataclass(frozen=True)
class Network:
    """A model as a function of what is trained.

    Attributes
    ----------
    logits : callable
        ``(trained numbers (size,), what body gives) -> (M, C)``.
    body : callable
        ``inputs (M, ...) -> (M, ...)``; what comes before anything that is trained, done once.
    """

    logits: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    body: Callable[[torch.Tensor], torch.Tensor] = lambda inputs: inputs


def network(model: AdaptedModel) -> Network:
    """Return a model of images as such a function, in evaluation mode."""
    head = last_layer(model)
    own = {id(parameter) for parameter in head.parameters()}
    if own == {id(place) for place in model.places.values()}:
        return _head_alone(model, head)
    named = {id(place): name for name, place in model.module.named_parameters()}
    names = {key: named[id(place)] for key, place in model.places.items()}

    def logits(flat: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        with _evaluating(model):
            numbers, given = _by_name(model, flat, names), {"pixel_values": inputs}
            found: torch.Tensor = functional_call(model.module, numbers, kwargs=given).logits
        return found

    return Network(logits)


def _head_alone(model: AdaptedModel, head: torch.nn.Linear) -> Network:
    """Return a model of which nothing but the last layer is trained."""
    named = {id(place): name for name, place in head.named_parameters()}
    names = {key: named[id(place)] for key, place in model.places.items()}

    def body(inputs: torch.Tensor) -> torch.Tensor:
        with _evaluating(model):
            return features(model, {"pixel_values": inputs})

    def logits(flat: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = functional_call(head, _by_name(model, flat, names), f)
        return found

    return Network(logits, body)


def _by_name(
    model: AdaptedModel, flat: torch.Tensor, names: Mapping[str, str]
) -> dict[str, torch.Tensor]:
    slices = model.schema.slices.items()
    return {names[key]: flat[place].view(shape) for key, (place, shape) in slices}


@contextmanager
def _evaluating(model: AdaptedModel) -> Iterator[None]:
    if model.module.training:
        model.module.eval()
    # The other kernels of attention have no second derivatives.
    with sdpa_kernel(SDPBackend.MATH):
        yield


class Unrolled:
    """A `ClientTraining` by SGD on cross-entropy, differentiable in the data.

    Parameters
    ----------
    model : Network
    schema : Schema
        Of the trained numbers.
    box : Box
    classes : int
        C.
    pace : callable
        ``(examples, round) -> Pace``.
    device : torch.device
    """

    def __init__(
        self,
        model: Network,
        schema: Schema,
        box: Box,
        classes: int,
        pace: Callable[[int, int], Pace],
        device: torch.device | str = "cpu",
    ) -> None:
        self._model = model
        self.schema = schema
        self._box = box
        self._classes = classes
        self._pace = pace
        self._device = device
        self._low, self._high = (self._tensor(bound) for bound in (box.low, box.high))

    @property
    def input_size(self) -> int:
        """How many numbers an input has."""
        return int(np.prod(self._box.shape))

    def pace(self, examples: int, server_round: int) -> Pace:
        """Return how a client of so many examples trains in a round."""
        return self._pace(examples, server_round)

    def drawn(self, count: int, generator: np.random.Generator) -> Synthetic:
        """Return data to begin a search with."""
        box = self._box
        inputs = generator.standard_normal((count, *box.shape), np.float32)
        labels = generator.standard_normal((count, self._classes), np.float32)
        return Synthetic(np.clip(inputs, box.low, box.high), labels)

    def update(self, start: Vector, data: Synthetic, pace: Pace) -> Vector:
        """Return what training on `data` adds to `start`, shape (schema.size,)."""
        inputs, labels = self._tensor(data.inputs), self._tensor(data.labels)
        added = self._added(self._tensor(start), inputs, labels, pace, keep=False)
        found: Vector = added.detach().cpu().numpy()
        return found

    def recovered(
        self, start: Vector, update: Vector, pace: Pace, first: Synthetic, search: Search
    ) -> Synthetic:
        """Return the data, of all that were tried, whose update is nearest.

        Parameters
        ----------
        start, update : ndarray, shape (schema.size,)
            What the client was sent, and what it added.
        pace : Pace
        first : Synthetic
            Where the search begins.
        search : Search
        """
        w, wanted = self._tensor(start), self._tensor(update)
        far = distance(wanted, search)
        x = self._tensor(first.inputs).requires_grad_()
        y = self._tensor(first.labels).requires_grad_()
        adam = torch.optim.Adam([x, y], lr=search.rate)
        milestones = [int(search.iterations * part) for part in (3 / 8, 5 / 8, 7 / 8)]
        schedule = torch.optim.lr_scheduler.MultiStepLR(adam, milestones, gamma=0.1)
        nearest, best = float("inf"), first
        for iteration in range(search.iterations + 1):
            off = far(self._added(w, x, y, pace, keep=True))
            if (value := float(off.detach())) < nearest:
                nearest, best = value, _synthetic(x, y)
            if iteration == search.iterations:
                break
            x.grad, y.grad = torch.autograd.grad(off, [x, y])
            if search.signed:
                x.grad.sign_()
            adam.step()
            schedule.step()
            with torch.no_grad():
                x.copy_(torch.clamp(x, self._low, self._high))
        return best

    def _added(
        self, start: torch.Tensor, x: torch.Tensor, y: torch.Tensor, pace: Pace, *, keep: bool
    ) -> torch.Tensor:
        """Return LocalUpdate(w; D) - w, with the graph back to D where it is kept."""
        soft = torch.softmax(y, dim=1)
        start = start.clone().requires_grad_()
        w, inside = start, self._model.body(x)
        for _ in range(pace.steps):
            logs = torch.log_softmax(self._model.logits(w, inside), dim=1)
            (gradient,) = torch.autograd.grad(-(soft * logs).sum(1).mean(), w, create_graph=keep)
            w = w - pace.rate * gradient
        return w - start

    def _tensor(self, numbers: Array | Vector) -> torch.Tensor:
        copied = np.array(numbers, np.float32)
        return torch.from_numpy(copied).to(self._device)


def distance(wanted: torch.Tensor, search: Search) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the distance of updates from a wanted one, over the numbers of it that count."""
    count = max(1, round(search.share * len(wanted)))
    places = torch.topk(wanted.abs(), count).indices
    target = wanted[places]

    def l1(added: torch.Tensor) -> torch.Tensor:
        return (added[places] - target).abs().sum() / target.abs().sum()

    def cosine(added: torch.Tensor) -> torch.Tensor:
        return 1 - torch.nn.functional.cosine_similarity(added[places], target, dim=0)

    return l1 if search.distance == "l1" else cosine


def _synthetic(x: torch.Tensor, y: torch.Tensor) -> Synthetic:
    inputs, labels = (part.detach().cpu().numpy().copy() for part in (x, y))
    return Synthetic(inputs, labels)
