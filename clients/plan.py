"""The plan: all that a node must know to train, decided by the server and sent once."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Literal

from clients.data.spec import DataSpec
from models.errors import nearest
from models.schema import Schema
from models.tasks import Kind

Scalar = str | int | float | bool


@dataclass(frozen=True)
class Recipe:
    """How a client trains; a message may override single entries.

    Attributes
    ----------
    local_epochs : int
        Passes over the client's train part.
    local_steps : int
        Optimiser steps instead, if above 0.
    batch_size : int
        Examples a step.
    accumulation : int
        Pieces that a step's batch is computed in, one after the other: the same step with less
        memory.
    gradient_checkpointing : bool
        Compute activations again in the backward pass instead of keeping them.
    learning_rate : float
        In round 1.
    schedule : {"constant", "cosine"}
        How the learning rate falls from round to round.
    least_rate : float
        Where a cosine ends.
    rounds : int
        The round in which it ends.
    optimizer : {"adamw", "adam", "sgd"}
    optimizer_args : tuple of (str, value)
        Such as ``("momentum", 0.9)`` or ``("weight-decay", 0.01)``.
    """

    local_epochs: int = 1
    local_steps: int = 0
    batch_size: int = 16
    accumulation: int = 1
    gradient_checkpointing: bool = False
    learning_rate: float = 0.01
    schedule: Literal["constant", "cosine"] = "constant"
    least_rate: float = 0.0
    rounds: int = 0
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    optimizer_args: tuple[tuple[str, float | bool], ...] = ()

    def at(self, server_round: int) -> Recipe:
        """Return the recipe with the learning rate of a round.

        It follows from the round alone, so that a resumed run goes on as if nothing had happened:
        least + (rate - least) (1 + cos(pi (t - 1) / (T - 1))) / 2 in round t of T.
        """
        if self.schedule == "constant" or self.rounds < 2:
            return self
        done = min(1.0, max(0, server_round - 1) / (self.rounds - 1))
        share = (1 + math.cos(math.pi * done)) / 2
        rate = self.least_rate + (self.learning_rate - self.least_rate) * share
        return replace(self, learning_rate=rate)


_ADAM = {"beta-1": float, "beta-2": float, "eps": float, "weight-decay": float, "amsgrad": bool}
OPTIMIZER_ARGS: Mapping[str, Mapping[str, type]] = {
    "sgd": {"momentum": float, "dampening": float, "weight-decay": float, "nesterov": bool},
    "adam": _ADAM,
    "adamw": _ADAM,
}
_BELOW_ONE = frozenset(["beta-1", "beta-2", "momentum", "dampening"])


def optimizer_arg_errors(optimizer: str, options: Mapping[str, object]) -> list[str]:
    """Return one line for each wrong entry of ``optimizer-args``."""
    known = OPTIMIZER_ARGS[optimizer]
    errors = []
    for name, value in options.items():
        if name not in known:
            errors.append(f"unknown option '{name}'; {nearest(name, known)}")
        elif known[name] is bool:
            if not isinstance(value, bool):
                errors.append(f"{name} must be true or false")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            errors.append(f"{name} must be a number, at least 0")
        elif name in _BELOW_ONE and value >= 1:
            errors.append(f"{name} = {value!r}: below 1")
    if (
        not errors
        and options.get("nesterov")
        and (not options.get("momentum") or options.get("dampening"))
    ):
        errors.append("nesterov needs a momentum above 0 and no dampening")
    return errors


@dataclass(frozen=True)
class Plan:
    """Everything that both halves must agree on.

    Attributes
    ----------
    data : DataSpec
    kind : {"image", "text", "table", "causal-lm"}
    labels : tuple of str
        In the order of the model's outputs; none where the task has no labels.
    model : str
        The setting; how a node finds the base that it was not sent.
    model_args : tuple of (str, value)
        Such as ``("max-length", 128)``.
    base : str
        The base's fingerprint.
    variants : tuple of (str, str)
        Bases that some clients have instead: each one's setting and fingerprint.
    adapter : str
    adapter_args : tuple of (str, value)
    schema : str
        JSON of the adapter's schema.
    recipe : Recipe
    objective : str
        Local objective where a message names none.
    objective_args : tuple of (str, value)
    seed : int
    device : str
        ``auto``: the accelerator that is there, else the CPU.
    threads : int
        Of a worker; 0 = the CPUs it was given.
    personalise_epochs : int
        Epochs on a client's own train part before it is evaluated; a message may override it.
    task_args : tuple of (str, value)
        Options of the task.
    """

    data: DataSpec
    kind: Kind
    labels: tuple[str, ...]
    model: str
    model_args: tuple[tuple[str, object], ...]
    base: str
    adapter: str
    adapter_args: tuple[tuple[str, object], ...]
    schema: str
    recipe: Recipe
    variants: tuple[tuple[str, str], ...] = ()
    objective: str = "cross-entropy"
    objective_args: tuple[tuple[str, object], ...] = ()
    seed: int = 0
    device: str = "auto"
    threads: int = 0
    personalise_epochs: int = 0
    task_args: tuple[tuple[str, object], ...] = ()

    @cached_property
    def hash(self) -> str:
        """Name of the plan (16 hexadecimal digits)."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    @cached_property
    def parsed_schema(self) -> Schema:
        """The adapter's schema."""
        return Schema.from_json(self.schema)

    def to_json(self) -> str:
        """Return the canonical text."""
        values = {f: getattr(self, f) for f in self.__dataclass_fields__}
        values["data"] = self.data.to_json()
        values["recipe"] = asdict(self.recipe)
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read `to_json`'s text back."""
        values = json.loads(text)
        values["data"] = DataSpec.from_json(values["data"])
        recipe = values["recipe"]
        recipe["optimizer_args"] = _pairs(recipe["optimizer_args"])
        values["recipe"] = Recipe(**recipe)
        values["labels"] = tuple(values["labels"])
        values["variants"] = tuple((str(model), str(base)) for model, base in values["variants"])
        for name in ("model_args", "adapter_args", "objective_args", "task_args"):
            values[name] = _pairs(values[name])
        return cls(**values)


def _pairs(rows: list[list[object]]) -> tuple[tuple[str, object], ...]:
    return tuple((str(name), value) for name, value in rows)
