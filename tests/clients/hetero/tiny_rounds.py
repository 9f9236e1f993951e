"""A round of a client whose features are its inputs, so that gradients can be written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from clients.objectives import Objective
from clients.plan import Recipe
from clients.preparation import Inputs
from clients.trainers import ClientRound, Trainer
from clients.training import Prepared
from models.adapted import AdaptedModel
from models.adapters import make_adapter
from models.schema import NamedArrays
from models.tasks import LoadedBase

RATE = 0.5


class Identity(torch.nn.Module):
    """x -> classifier(x), with a layer in between that does nothing."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.config = SimpleNamespace(num_labels=labels, model_type="tiny", to_dict=dict)
        self.body = torch.nn.Linear(width, width, bias=False)
        self.body.weight.data = torch.eye(width)
        self.classifier = torch.nn.Linear(width, labels)

    def forward(self, pixel_values: torch.Tensor) -> Any:
        return SimpleNamespace(logits=self.classifier(self.body(pixel_values)))


class Rows(Inputs):
    def __init__(self, x: np.ndarray) -> None:
        self.x = torch.from_numpy(x.astype(np.float32))

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, rows: np.ndarray, device: torch.device) -> dict[str, torch.Tensor]:
        return {"pixel_values": self.x[torch.from_numpy(rows)]}

    def joined(self, other: Inputs) -> Rows:
        assert isinstance(other, Rows)
        return Rows(torch.cat([self.x, other.x]).numpy())


def tiny(width: int, labels: int, adapter: str = "head") -> AdaptedModel:
    """A model of which only the head is trained, unless another adapter is named."""
    torch.manual_seed(width)
    base = LoadedBase(Identity(width, labels).requires_grad_(False), ("classifier",))
    options = {"targets": "body", "rank": 1} if adapter == "lora" else {}
    facts = {"labels": labels, "head": "classifier"}
    return AdaptedModel(base, "image", make_adapter(adapter, options), facts, 7)


@dataclass
class Bench:
    """A client's node: its examples, its model and what it keeps."""

    x: np.ndarray
    y: np.ndarray
    model: AdaptedModel
    steps: int = 1
    objective: Objective = field(default_factory=Objective)
    kept: Any = None

    def round(self, start: NamedArrays, server_round: int = 1) -> ClientRound:
        data = Prepared(Rows(self.x), self.y.astype(np.int64), {})

        def keep(arrays: Mapping[str, np.ndarray], values: Mapping[str, object]) -> None:
            self.kept = SimpleNamespace(round=server_round, arrays=dict(arrays), values=values)

        recipe = Recipe(local_steps=self.steps, batch_size=99, learning_rate=RATE, optimizer="sgd")
        return ClientRound(
            client="c",
            round=server_round,
            start=start,
            model=self.model,
            initial=self.initial,
            recipe=recipe,
            objective=self.objective,
            kept=self.kept,
            keep=keep,
            part=lambda _: data,
            generator=lambda purpose: np.random.default_rng(len(purpose)),
        )

    def __post_init__(self) -> None:
        self.initial = self.model.arrays()

    @classmethod
    def of(
        cls, trainer: Trainer, own: AdaptedModel, x: np.ndarray, y: np.ndarray, **rest: Any
    ) -> Bench:
        extension = trainer.extension()
        assert extension is not None
        width = rest.pop("common", own.module.base_model.model.body.in_features)
        model = extension.extend(own, lambda: tiny(width, int(y.max()) + 1), 3)
        return cls(x, y, model, **rest)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def one_hot(y: np.ndarray) -> np.ndarray:
    return np.eye(int(y.max()) + 1)[y]
