"""A wrapper for methods whose clients share a part beside models of their own.

The rule inside sees, and clients send, that part only; what is a client's own stays on its node.
"""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from models.errors import ConfigurationError
from models.randomness import derive_generator
from models.schema import NamedArrays, Schema
from strategies import base
from strategies.fedavg import FedAvg
from strategies.rounds.context import Instruction, RoundContext, Scalar


class SharedPart(base.Wrapper):
    """Base of methods that share a part beside models of the clients' own."""

    keeps_state: ClassVar[bool] = True
    has_global_model: ClassVar[bool] = False
    mixes_models: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True
    default_inner: ClassVar[type[base.Strategy] | None] = FedAvg

    @abstractmethod
    def part(self, arrays: NamedArrays) -> NamedArrays:
        """Return the first values of what is shared.

        Parameters
        ----------
        arrays : NamedArrays
            The first adapter of the run's own model.
        """

    @property
    @abstractmethod
    def told(self) -> Mapping[str, Scalar]:
        """The client half and its options."""

    def initialise(self, arrays: NamedArrays) -> None:
        """Give the rule inside what is shared."""
        super().initialise(self.part(arrays))

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send what is shared."""
        return super().instruct(client, context).also(self.told)

    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction:
        """Evaluate what is shared with the client's own model."""
        return super().instruct_evaluation(client, context).also(self.told)


def head_shape(schema: Schema) -> tuple[int, int]:
    """Return labels and features of the run's own model, from the head's last matrix.

    Raises
    ------
    ConfigurationError
        The adapter has no such matrix.
    """
    found = schema.head_matrix
    if found is None:
        raise ConfigurationError("no linear layer ends the model's head: nothing to share")
    labels, features = found.shape
    return labels, features


def first_matrix(
    arrays: NamedArrays, purpose: str, rows: int, width: int
) -> npt.NDArray[np.float32]:
    """Return first values of a matrix on `width` features, uniform within +-1/sqrt(width).

    The first adapter stands for the run's seed.
    """
    generator = derive_generator(zlib.crc32(arrays.vector.tobytes()), purpose)
    bound = width**-0.5
    return generator.uniform(-bound, bound, (rows, width)).astype(np.float32)
