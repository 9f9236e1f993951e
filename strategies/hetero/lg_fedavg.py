"""LG-FedAvg: Liang et al., "Think Locally, Act Globally: Federated Learning with Local and Global
Representations", 2020, https://arxiv.org/abs/2001.01523

Client k learns a local representation l_k; the global model g on top of it is shared and averaged:

    g <- sum_k n_k g_k / sum_k n_k,   client k predicts g(l_k(x))

Both are trained together. Here l_k is the client's own base with its adapter, and its projection
where its features have another width; g is the head. Only the head travels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from models.beside.keys import BIAS_KEY, WEIGHT_KEY
from models.schema import NamedArrays
from strategies import base
from strategies.hetero.shared_part import SharedPart, first_matrix, head_shape
from strategies.rounds.context import Scalar


class LGFedAvgOptions(base.Options):
    """Options of `LGFedAvg`."""

    features: Annotated[
        int, Field(ge=0, le=65536, description="width of the head's input; 0 = the run's model's")
    ] = 0


class LGFedAvg(SharedPart):
    """The head is shared, what is below it stays with the client."""

    about: ClassVar[str] = "the head is shared, the representation stays with the client"
    travels: ClassVar[str] = "the head"
    Options: ClassVar[type[base.Options]] = LGFedAvgOptions
    options: LGFedAvgOptions

    def part(self, arrays: NamedArrays) -> NamedArrays:
        """Return the first g: random weights, no bias."""
        labels, width = head_shape(arrays.schema)
        weight = first_matrix(arrays, "head", labels, self.options.features or width)
        return NamedArrays.of(
            {WEIGHT_KEY: weight, BIAS_KEY: np.zeros(labels, np.float32)}, {"kind": "lg-fedavg"}
        )

    @property
    def told(self) -> Mapping[str, Scalar]:
        """The client half, with the width of the head's input."""
        return {"trainer": "shared-head", "trainer.features": self.arrays[WEIGHT_KEY].shape[1]}
