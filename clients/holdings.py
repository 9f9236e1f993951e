"""What a node's clients hold, as it is in each round, prepared once a process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np

from clients.data import (
    ClientData,
    Drift,
    Examples,
    Federation,
    drift_slots,
    load_federation,
    load_site,
    make_drift,
)
from clients.data.pooling import POOLED
from clients.grouping import Grouping
from clients.plan import Plan
from clients.preparation import IGNORED, Preparation
from clients.training import Prepared
from models.tasks import TASKS

_KEPT_PARTS = 4096


def prepare(
    examples: Examples,
    labels: tuple[str, ...],
    preparation: Preparation,
    training: bool = False,
) -> Prepared:
    """Turn examples into inputs and targets, to be trained on or to be scored."""
    inputs, groups = preparation.inputs(examples, training), examples.group_values()
    if TASKS[examples.columns.kind].labelled:
        return Prepared(inputs, examples.label_ids(labels), groups)
    if inputs.rows is not None:
        groups = {column: [values[i] for i in inputs.rows] for column, values in groups.items()}
    return Prepared(inputs, np.full(len(inputs), IGNORED), groups)


class Holdings:
    """The examples of a node's clients.

    Parameters
    ----------
    plan : Plan
    sites : mapping of str to str
        For real nodes, data path by client id; empty where the data set is divided over clients.
    preparation : callable
        ``(client)``: how the client's base model wants its inputs.
    """

    def __init__(
        self, plan: Plan, sites: Mapping[str, str], preparation: Callable[[str], Preparation]
    ) -> None:
        self._plan = plan
        self._sites = dict(sites)
        self._preparation = preparation
        self._grouping = Grouping.of(plan)
        self._slots = drift_slots(plan.data.drift, dict(plan.data.drift_args))
        self._prepared: OrderedDict[tuple[str, str, int], Prepared] = OrderedDict()

    def slot(self, server_round: int) -> int:
        """Return the slot that a round belongs to; 0 where data do not drift."""
        return self._slots.of(server_round)

    def part(self, client: str, part: str, slot: int) -> Prepared:
        """Return a client's ``"train"`` or ``"test"`` part as it is in a slot."""
        key = (client, part, slot)
        if key not in self._prepared:
            data = self._data(client, slot)
            examples = data.train if part == "train" else data.test
            own = self._preparation(client)
            found = prepare(examples, self._plan.labels, own, training=part == "train")
            self._prepared[key] = self._grouping.add_to(found) if self._grouping else found
            while len(self._prepared) > _KEPT_PARTS:
                self._prepared.popitem(last=False)
        self._prepared.move_to_end(key)
        return self._prepared[key]

    @cached_property
    def _federation(self) -> Federation:
        return load_federation(self._plan.data)

    @cached_property
    def _site_drift(self) -> Drift | None:
        return make_drift(self._plan.data, self._plan.labels, self._plan.kind)

    def _data(self, client: str, slot: int) -> ClientData:
        if client in self._sites:
            data = load_site(self._plan.data, self._sites[client], client)
            return data if self._site_drift is None else self._site_drift.seen(data, slot)
        if client == POOLED:
            return self._federation.pooled(slot)
        return self._federation.client(client, slot)
