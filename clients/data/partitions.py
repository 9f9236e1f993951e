"""The partitions that exist, their arguments, and the check of both before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from models.errors import nearest


@dataclass(frozen=True)
class Argument:
    """One argument of a partition.

    Attributes
    ----------
    kind : {"integer", "number", "text", "boolean"}
        Type of the value.
    help : str
        One line.
    minimum, maximum : float or None
        Inclusive bounds.
    above : float or None
        Exclusive lower bound.
    choices : tuple of str
        Allowed texts; empty means any.
    required : bool
        Whether the partition cannot do without.
    """

    kind: Literal["integer", "number", "text", "boolean"]
    help: str
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    required: bool = False

    def error(self, value: object) -> str | None:
        """Say what is allowed if the value is not, else None."""
        fits = {
            "integer": isinstance(value, int) and not isinstance(value, bool),
            "number": isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value),
            "text": isinstance(value, str) and value != "",
            "boolean": isinstance(value, bool),
        }[self.kind]
        if not fits:
            return f"allowed: {self.allowed}"
        if isinstance(value, str):
            unknown = self.choices and value not in self.choices
            return nearest(value, self.choices) if unknown else None
        assert isinstance(value, int | float)
        outside = (
            (self.minimum is not None and value < self.minimum)
            or (self.maximum is not None and value > self.maximum)
            or (self.above is not None and value <= self.above)
        )
        return f"allowed: {self.allowed}" if outside else None

    @property
    def allowed(self) -> str:
        """What a value may be, in words."""
        if self.choices:
            return " or ".join(f"'{choice}'" for choice in self.choices)
        words = {
            "integer": "a whole number",
            "number": "a number",
            "text": "a name",
            "boolean": "true or false",
        }[self.kind]
        bounds = [
            f"{word} {bound:g}"
            for word, bound in (("above", self.above), ("from", self.minimum), ("to", self.maximum))
            if bound is not None
        ]
        return " ".join([words, *bounds])


@dataclass(frozen=True)
class PartitionKind:
    """One way to divide a data set over clients.

    Attributes
    ----------
    help : str
        One line.
    arguments : mapping of str to Argument
        Its own arguments; those of `SHIFT_ARGUMENTS` are allowed besides.
    by_label : bool
        Whether it needs labels.
    """

    help: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    by_label: bool = False


_MIN_SIZE = Argument("integer", "fewest rows a client may get (2)", minimum=2)

PARTITIONS: Mapping[str, PartitionKind] = MappingProxyType(
    {
        "iid": PartitionKind("equal shares at random"),
        "dirichlet": PartitionKind(
            "label skew: each label is spread over the clients by a Dirichlet draw",
            {
                "alpha": Argument("number", "concentration; small = very different (0.3)", above=0),
                "min-size": _MIN_SIZE,
                "balanced": Argument("boolean", "hold clients near equal sizes (false)"),
            },
            by_label=True,
        ),
        "pathological": PartitionKind(
            "each client has rows of only a few labels",
            {"classes-per-client": Argument("integer", "labels a client has (2)", minimum=1)},
            by_label=True,
        ),
        "shards": PartitionKind(
            "rows sorted by label are cut into shards, dealt at random",
            {
                "shards-per-client": Argument("integer", "shards a client gets (2)", minimum=1),
                "shard-size": Argument("integer", "rows a shard has", minimum=1),
            },
            by_label=True,
        ),
        "natural-id": PartitionKind(
            "one client for each value of a column; num-clients is not used",
            {
                "column": Argument("text", "column that says whose row it is", required=True),
                "min-size": Argument(
                    "integer", "leave out values with fewer rows (refused if under 2)", minimum=2
                ),
            },
        ),
        "length": PartitionKind(
            "texts of like length go to one client",
            {
                "strictness": Argument(
                    "number", "1 = sorted by length, 0 = at random (1)", minimum=0, maximum=1
                )
            },
        ),
        "embeddings": PartitionKind(
            "clusters of rows that are about the same are spread by a Dirichlet draw",
            {
                "alpha": Argument("number", "concentration; small = very different (1)", above=0),
                "clusters": Argument("integer", "clusters of k-means (10)", minimum=2),
                "min-size": _MIN_SIZE,
                "model": Argument("text", "frozen base whose features are clustered"),
                "column": Argument("text", "column of embeddings, instead of a model"),
            },
        ),
        "linear": PartitionKind("client k gets a share of rows proportional to k"),
        "square": PartitionKind("client k gets a share of rows proportional to k squared"),
        "exponential": PartitionKind("client k gets a share of rows proportional to exp(k)"),
        "folders": PartitionKind("one subfolder of the data set a client; num-clients is not used"),
    }
)
"""Every partition by name."""

SHIFT_ARGUMENTS: Mapping[str, Argument] = MappingProxyType(
    {
        "shift": Argument(
            "text",
            "groups of clients see rotated images, permuted or swapped labels",
            choices=("rotation", "label-permutation", "label-swap"),
        ),
        "groups": Argument("integer", "groups of clients in the shift (4)", minimum=2),
        "h": Argument(
            "number", "share of two labels' rows that label-swap swaps (1)", minimum=0, maximum=1
        ),
    }
)
"""Arguments of concept shifts, valid with every partition."""

MOST_ROTATIONS = 4


def validate_partition(name: str, args: Mapping[str, object]) -> list[str]:
    """Check a partition and its arguments without touching any data.

    Parameters
    ----------
    name : str
        Name of the partition.
    args : mapping of str to object
        Arguments by kebab-case name.

    Returns
    -------
    list of str
        One line an error; empty if all is well.
    """
    if name not in PARTITIONS:
        return [f"partition = '{name}' is unknown: {nearest(name, PARTITIONS)}"]
    own = PARTITIONS[name].arguments
    known = {**own, **SHIFT_ARGUMENTS}
    errors = []
    for key, value in args.items():
        if key not in known:
            errors.append(
                f"partition-args: '{key}' is no argument of '{name}': {nearest(key, known)}"
            )
        elif (problem := known[key].error(value)) is not None:
            errors.append(f"partition-args: {key} = {value!r} is not allowed; {problem}")
    for key, argument in own.items():
        if argument.required and key not in args:
            errors.append(
                f"partition-args: '{name}' needs {key}, the {argument.help}; "
                f"for instance {key} = 'client'"
            )
    if name == "embeddings" and "model" in args and "column" in args:
        errors.append(
            "partition-args: model and column both say where embeddings come from; drop one"
        )
    if "h" in args and args.get("shift") != "label-swap":
        errors.append(
            "partition-args: h is the share that shift = 'label-swap' swaps; add that shift, or "
            "drop h"
        )
    if "groups" in args and args.get("shift") == "label-swap":
        errors.append(
            "partition-args: groups is not allowed with shift = 'label-swap', which has two: "
            "clients in even and in odd place; drop groups"
        )
    if "groups" in args and "shift" not in args:
        errors.append(
            "partition-args: groups is set without a shift; add shift = 'rotation' or "
            "shift = 'label-permutation', or drop groups"
        )
    groups = args.get("groups")
    if args.get("shift") == "rotation" and isinstance(groups, int) and groups > MOST_ROTATIONS:
        errors.append(
            f"partition-args: groups = {groups} is not allowed with shift = 'rotation'; "
            f"there are {MOST_ROTATIONS} quarter turns"
        )
    return errors
