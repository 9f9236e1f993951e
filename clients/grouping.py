"""Batches that carry the group of each example, for adapters and objectives that ask for it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from clients.plan import Plan
from clients.preparation import Batch, Inputs
from clients.training import Prepared
from models.adapters import ADAPTERS
from models.fairness.counts import GROUPS, UNKNOWN
from models.schema import Fact


@dataclass(frozen=True)
class Grouping:
    """Which column says the group, and the names of the groups in order.

    Attributes
    ----------
    column : str
    names : tuple of str
        Empty: each client numbers those that it has.
    """

    column: str
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, plan: Plan) -> Grouping | None:
        """Return the grouping that a plan needs; None where nothing in it asks for groups."""
        if ADAPTERS[plan.adapter].takes_groups:
            given = dict(plan.adapter_args)
            names = given.get("groups", ())
            named = tuple(str(name) for name in names) if isinstance(names, list | tuple) else ()
            return cls(str(given.get("column", "")), named)
        if plan.objective == "fairness" and plan.data.group_columns:
            column = dict(plan.objective_args).get("column") or plan.data.group_columns[0]
            return cls(str(column))
        return None

    def numbers(self, values: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the number of each example's group, -1 where it is none of the names."""
        names = self.names or tuple(sorted({*values} - {UNKNOWN}))
        places = {name: number for number, name in enumerate(names)}
        return np.array([places.get(value, -1) for value in values], dtype=np.int64)

    def add_to(self, prepared: Prepared) -> Prepared:
        """Return the same examples with their groups in every batch."""
        values = prepared.groups.get(self.column, [UNKNOWN] * len(prepared))
        return replace(prepared, inputs=GroupedInputs(prepared.inputs, self.numbers(values)))


class GroupedInputs(Inputs):
    """Inputs with the number of each example's group beside them."""

    def __init__(self, inputs: Inputs, groups: npt.NDArray[np.int64]) -> None:
        self._inputs = inputs
        self._groups = torch.from_numpy(groups)

    def __len__(self) -> int:
        return len(self._inputs)

    @property
    def examples(self) -> int:
        return self._inputs.examples

    def mass(self, rows: npt.NDArray[np.int64]) -> int:
        return self._inputs.mass(rows)

    def length(self, rows: npt.NDArray[np.int64]) -> int:
        return self._inputs.length(rows)

    def batch(self, rows: npt.NDArray[np.int64], device: torch.device) -> Batch:
        groups = self._groups[torch.from_numpy(rows)].to(device)
        return {**self._inputs.batch(rows, device), GROUPS: groups}


def group_examples(facts: Mapping[str, Fact], data: Prepared) -> list[int]:
    """Return n_{k,g}: how many of a client's examples are of each group of the adapter.

    Parameters
    ----------
    facts : mapping
        The adapter's, in its schema.
    data : Prepared
        The client's training examples.
    """
    names = json.loads(str(facts.get("groups", "[]")))
    # One group is everybody's, whether a client knows its own or not.
    if len(names) < 2:
        return [len(data)]
    found = Counter(data.groups.get(str(facts.get("group-column", "")), ()))
    return [found[name] for name in names]
