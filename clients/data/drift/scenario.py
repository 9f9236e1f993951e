"""What each client sees in each slot, derived from the seed; nothing is drawn in advance.

Where one data set is divided, groups and moves are dealt over all its clients, so shares are
exact. A node with data of its own knows only its client, so they are drawn from the client's id.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from clients.data.drift.kinds import NO_DRIFT, drift_slots, slot_count
from clients.data.examples import ClientData, Examples
from clients.data.shifts import Concept, label_permutations
from clients.data.spec import DataSpec
from models.errors import DataError
from models.randomness import derive_generator
from models.time.slots import Slots

_FEDDAA_CONCEPTS = (2, 3, 4)
"""Labellings that are there in the first, the second and any further slot."""


@dataclass(frozen=True)
class Drift:
    """A drift at work.

    Attributes
    ----------
    kind : str
        One of `DRIFTS`, not ``none``.
    args : mapping
        Its arguments, checked by `validate_drift`.
    seed : int
        The partition seed.
    labels : tuple of str
        All labels, in the order of the model's outputs.
    clients : tuple of str
        All clients of a divided data set, in natural order; empty on a node with data of its own.
    """

    kind: str
    args: Mapping[str, object]
    seed: int
    labels: tuple[str, ...]
    clients: tuple[str, ...] = ()
    _numbers: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self._numbers.update({client: n for n, client in enumerate(self.clients)})
        if self.kind == "feddaa" and len(self.labels) < 3:
            raise DataError(
                f"drift = 'feddaa' wants at least 3 labels, so that its 4 labellings differ; found "
                f"{len(self.labels)}: {', '.join(self.labels)}"
            )

    @property
    def slots(self) -> Slots:
        """The schedule."""
        return drift_slots(self.kind, self.args)

    def concept(self, client: str, slot: int) -> Concept:
        """Return how a client sees its data in a slot.

        Concepts of one number are one concept: two clients with it could share a model.
        """
        if self.kind == "label-skew":
            return Concept(0)
        if self.kind == "feddaa":
            pool = _FEDDAA_CONCEPTS[min(slot, len(_FEDDAA_CONCEPTS) - 1)]
            number = self._dealt(client, pool, "labelling", slot)
            order = _feddaa_orders(len(self.labels))[number]
            return self._turned(Concept(number, relabel=self._relabel(order)), 120, slot)
        state = self._state(client, slot)
        if self.kind == "rotation":
            degrees = int(str(self.args.get("degrees", 90)))
            state %= 360 // math.gcd(360, degrees)
            return self._turned(Concept(state), 90, state)
        if self.kind == "label-cycle":
            count = len(self.labels)
            by = int(str(self.args.get("by", 1))) * state % count
            return Concept(by, relabel=self._relabel([(y + by) % count for y in range(count)]))
        orders = self._permutations
        number = state % len(orders)
        return Concept(number, relabel=self._relabel(orders[number]))

    def drifted(self, client: str, slot: int) -> str:
        """Return what kind of drift a client meets when a slot begins.

        Returns
        -------
        str
            ``real`` (P(y|x) changes), ``virtual`` (P(x) changes), ``label`` (P(y) changes) or
            ``none``; real where the images turn as well.
        """
        if slot == 0:
            return "none"
        if self.kind == "label-skew":
            return "label"
        before, now = self.concept(client, slot - 1), self.concept(client, slot)
        if before.relabel != now.relabel:
            return "real"
        turned = (before.rotation, before.angle) != (now.rotation, now.angle)
        return "virtual" if turned else "none"

    def seen(self, data: ClientData, slot: int) -> ClientData:
        """Return a client's data as it is in a slot: test rows stay, unless labels drift."""
        client, concept = data.client_id, self.concept(data.client_id, slot)
        train, test = data.train, data.test
        if self.args.get("rows") == "divided":
            train = _some(train, self._share_of_slot(train, client, slot))
        if self.kind == "label-skew":
            train, test = (
                _some(part, self._skewed(part, client, slot, name))
                for part, name in ((train, "train"), (test, "test"))
            )
        return ClientData(
            client,
            concept.seen(train, self.seed, client, "train"),
            concept.seen(test, self.seed, client, "test"),
            concept.number,
        )

    def most(self, examples: int) -> int:
        """Return the most training examples that a client with so many has in any slot."""
        if self.args.get("rows") != "divided":
            return examples
        return math.ceil(examples / slot_count(self.kind, self.args))

    def table(self, clients: Sequence[str], num_rounds: int) -> list[tuple[object, ...]]:
        """Return the truth: a row (slot, first round, client, concept, degrees, drift) each."""
        return [
            (slot, first, client, seen.number, 90 * seen.rotation + seen.angle, drifted)
            for slot, first in enumerate(self.slots.first_rounds(num_rounds))
            for client in clients
            for seen, drifted in ((self.concept(client, slot), self.drifted(client, slot)),)
        ]

    # ---- who is in which concept ---------------------------------------------------------

    def _state(self, client: str, slot: int) -> int:
        """Return how many steps from the first concept a client is."""
        groups = int(str(self.args.get("groups", 1)))
        group = self._dealt(client, groups, "group")
        if self.args.get("in-turn"):
            moves = (slot + groups - 1 - group) // groups
        elif float(str(self.args.get("moving", 1))) == 1:
            moves = slot
        else:
            moves = sum(self._moves(client, at) for at in range(1, slot + 1))
        return moves + (group if self.args.get("start", "apart") == "apart" else 0)

    def _dealt(self, client: str, choices: int, purpose: str, slot: int | None = None) -> int:
        """Return one of 0..choices-1: in turn over all clients, whose order a slot shuffles."""
        when = () if slot is None else (slot,)
        if client not in self._numbers:
            generator = derive_generator(self.seed, "drift", purpose, *when, client)
            return int(generator.integers(choices))
        return self._place(client, purpose, slot) % choices

    def _moves(self, client: str, slot: int) -> bool:
        share = float(str(self.args["moving"]))
        if client not in self._numbers:
            generator = derive_generator(self.seed, "drift", "moves", slot, client)
            return bool(generator.random() < share)
        return self._place(client, "moves", slot) < round(share * len(self.clients))

    def _place(self, client: str, purpose: str, slot: int | None) -> int:
        number = self._numbers[client]
        if slot is None:
            return number
        generator = derive_generator(self.seed, "drift", purpose, slot)
        return int(generator.permutation(len(self.clients))[number])

    # ---- what a concept does -------------------------------------------------------------

    def _turned(self, concept: Concept, default: int, times: int) -> Concept:
        degrees = int(str(self.args.get("degrees", default))) * times % 360
        return replace(concept, rotation=degrees // 90, angle=degrees % 90)

    def _relabel(self, order: Sequence[int]) -> Mapping[str, str] | None:
        if list(order) == list(range(len(order))):
            return None
        return {name: self.labels[to] for name, to in zip(self.labels, order, strict=True)}

    @cached_property
    def _permutations(self) -> list[tuple[int, ...]]:
        count = int(str(self.args.get("concepts", 4)))
        return label_permutations(self.labels, count, self.seed, "drift-args", "concepts")

    def _share_of_slot(self, part: Examples, client: str, slot: int) -> NDArray[np.bool_]:
        """Deal rows, label by label, over the slots."""
        generator = derive_generator(self.seed, "drift", "rows", client)
        order = generator.permutation(len(part))
        codes = part.table.label_codes[part.indices]
        order = order[np.argsort(codes[order], kind="stable")]
        count = slot_count(self.kind, self.args)
        chosen = np.zeros(len(part), bool)
        first = int(generator.integers(count))
        chosen[order[(np.arange(len(part)) + first) % count == slot % count]] = True
        return chosen

    def _skewed(self, part: Examples, client: str, slot: int, name: str) -> NDArray[np.bool_]:
        """Keep of label y the share q_y / max q, with q ~ Dirichlet(alpha) of client and slot."""
        generator = derive_generator(self.seed, "drift", "skew", client, slot)
        alpha = float(str(self.args.get("alpha", 0.5)))
        rows = np.asarray(part.label_names_of_rows())
        share = dict(zip(self.labels, generator.dirichlet([alpha] * len(self.labels)), strict=True))
        present = [label for label in self.labels if np.any(rows == label)]
        most = max((share[label] for label in present), default=0.0)
        chosen = np.zeros(len(part), bool)
        for label in present:
            own = np.flatnonzero(rows == label)
            count = round(share[label] / most * len(own)) if most > 0 else len(own)
            draw = derive_generator(self.seed, "drift", "skew", client, slot, name, label)
            chosen[draw.choice(own, count, replace=False)] = True
        return chosen


def make_drift(
    spec: DataSpec, labels: tuple[str, ...], kind: str, clients: tuple[str, ...] = ()
) -> Drift | None:
    """Return the drift of a spec, or None.

    Parameters
    ----------
    spec : DataSpec
    labels : tuple of str
        All labels, in the order of the model's outputs.
    kind : {"image", "text", "table"}
        Of the data.
    clients : tuple of str
        As `Drift`; folders of a simulation drift as the nodes that they stand for.

    Raises
    ------
    DataError
        The data does not suit the drift.
    """
    if spec.drift == NO_DRIFT:
        return None
    if spec.drift == "rotation" and kind != "image":
        raise DataError(
            f"drift = 'rotation' turns images, but the clients' data are {kind}; take "
            "'label-permutation', 'label-cycle' or 'label-skew'"
        )
    args = dict(spec.drift_args)
    if kind != "image":  # texts do not turn
        args["degrees"] = 0
    dealt = () if spec.partition == "folders" else clients
    return Drift(spec.drift, args, spec.partition_seed, labels, dealt)


def _feddaa_orders(count: int) -> tuple[list[int], ...]:
    """Return the labellings y, C - 1 - y, y + 1 and y + 2 of C labels."""
    every = range(count)
    return (
        list(every),
        [count - 1 - y for y in every],
        [(y + 1) % count for y in every],
        [(y + 2) % count for y in every],
    )


def _some(part: Examples, chosen: NDArray[np.bool_]) -> Examples:
    return replace(part, indices=part.indices[chosen])
