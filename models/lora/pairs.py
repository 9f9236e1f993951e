"""Factor pairs of a LoRA adapter, found by the schema's keys and never by shape.

PEFT's letters: dW = s B A with A of shape (r, d_in), B of shape (d_out, r) and the scale
s = alpha / r (alpha / sqrt(r) with rsLoRA). PEFT writes ``lora_A.weight`` and ``lora_B.weight`` for
linear layers (also GPT-2's Conv1D) and convolutions, ``lora_embedding_A`` and ``lora_embedding_B``
for embeddings. In all of them the first axis of A and the second of B is the rank, and the adapted
weight is a fixed reshaping or transposition of s B A; so products of factors can be compared and
averaged without knowing the layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from models.errors import ModelError
from models.schema import Fact, NamedArrays, Schema, Vector

Matrix = npt.NDArray[np.floating]
Letter = Literal["A", "B"]

_FACTOR = re.compile(
    r"^(?P<layer>.+)\.lora_(?P<embedding>embedding_)?(?P<letter>[AB])(?:\.default)?"
    r"(?(embedding)|\.weight)$"
)


def letter_of(key: str) -> Letter | None:
    """Return which factor an array is; None for anything else."""
    match = _FACTOR.match(key)
    if match is None:
        return None
    return "A" if match["letter"] == "A" else "B"


@dataclass(frozen=True)
class Pair:
    """The factors of one layer.

    Attributes
    ----------
    layer : str
        Name of the adapted layer.
    a : ndarray, shape (rank, d_in)
    b : ndarray, shape (d_out, rank)
    scale : float
        The layer changes by ``scale * b @ a``.
    """

    layer: str
    a: Matrix
    b: Matrix
    scale: float

    @property
    def rank(self) -> int:
        """Number of rows of A."""
        return int(self.a.shape[0])


@dataclass(frozen=True)
class PairPlace:
    """Where the factors of one layer are, and what they are like.

    Attributes
    ----------
    layer, a_key, b_key : str
    rank, d_in, d_out : int
        A convolution's kernel counts into d_in.
    scale : float
    """

    layer: str
    a_key: str
    b_key: str
    rank: int
    d_in: int
    d_out: int
    scale: float


def scaling_of(facts: Mapping[str, Fact], rank: int) -> float:
    """Return s of a pair of this rank: alpha / rank, or alpha / sqrt(rank) with rsLoRA.

    A schema that says nothing, such as that of a plain Flower peer, gives 1: where all clients
    have one scale it cancels.
    """
    if "alpha" in facts:
        return float(facts["alpha"]) / (rank**0.5 if facts.get("rslora") else rank)
    return float(facts.get("scaling", 1.0))


@dataclass(frozen=True)
class Layout:
    """What of a schema are factor pairs, and what is the rest (head, biases, DoRA's magnitudes).

    Attributes
    ----------
    schema : Schema
    places : tuple of PairPlace
        In schema order.
    rest : Schema
        All other arrays; they are averaged plainly.
    """

    schema: Schema
    places: tuple[PairPlace, ...]
    rest: Schema

    @classmethod
    def of(cls, schema: Schema) -> Self:
        """Read a schema.

        Raises
        ------
        ModelError
            A factor without its partner, or partners of different rank.
        """
        shapes = {spec.key: spec.shape for spec in schema.arrays}
        factors: dict[str, dict[str, str]] = {}
        for key in shapes:
            match = _FACTOR.match(key)
            if match:
                factors.setdefault(match["layer"], {})[match["letter"]] = key
        places = tuple(_place(layer, found, shapes, schema) for layer, found in factors.items())
        taken = {key for place in places for key in (place.a_key, place.b_key)}
        return cls(schema, places, schema.only([key for key in shapes if key not in taken]))

    @property
    def largest_rank(self) -> int:
        """Rank of the largest pair; 0 without pairs."""
        return max((place.rank for place in self.places), default=0)

    def pairs(self, arrays: NamedArrays) -> tuple[Pair, ...]:
        """Return views of the factors of `arrays`, in schema order."""
        return tuple(
            Pair(
                place.layer,
                arrays[place.a_key].reshape(place.rank, place.d_in),
                arrays[place.b_key].reshape(place.d_out, place.rank),
                place.scale,
            )
            for place in self.places
        )

    def assemble(self, factors: Mapping[str, tuple[Matrix, Matrix]], rest: Vector) -> NamedArrays:
        """Put factors and the rest together.

        Parameters
        ----------
        factors : mapping
            By layer, A of shape (rank, d_in) and B of shape (d_out, rank), at the layout's scale.
        rest : ndarray, shape (rest.size,)
            In the order of `rest`.

        Raises
        ------
        ModelError
            A layer that is missing, or factors of another shape.
        """
        made = NamedArrays(self.schema, np.empty(self.schema.size, dtype=self.schema.dtype))
        for pair in self.pairs(made):
            if pair.layer not in factors:
                raise ModelError(f"no factors for layer '{pair.layer}'")
            a, b = factors[pair.layer]
            if a.shape != pair.a.shape or b.shape != pair.b.shape:
                raise ModelError(
                    f"factors of shapes {a.shape} and {b.shape} for layer '{pair.layer}', "
                    f"expected {pair.a.shape} and {pair.b.shape}"
                )
            pair.a[...], pair.b[...] = a, b
        others = NamedArrays(self.rest, rest)
        for key in others:
            made[key][...] = others[key]
        return made


def _place(
    layer: str, found: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]], schema: Schema
) -> PairPlace:
    if len(found) == 1:
        ((letter, key),) = found.items()
        other = "B" if letter == "A" else "A"
        raise ModelError(
            f"'{key}' has no {other} beside it; products need both factors of a layer, and a "
            "schema of one factor alone is averaged as it is"
        )
    a_shape, b_shape = shapes[found["A"]], shapes[found["B"]]
    rank, d_out = a_shape[0], b_shape[0]
    if int(np.prod(b_shape[1:], dtype=np.int64)) != rank:
        raise ModelError(
            f"factors of layer '{layer}' do not fit: A is {a_shape}, B is {b_shape}; "
            "the first axis of A and the second of B must be the rank"
        )
    d_in = int(np.prod(a_shape[1:], dtype=np.int64))
    scale = scaling_of(schema.facts, rank)
    return PairPlace(layer, found["A"], found["B"], rank, d_in, d_out, scale)
