"""pFedLoRA: Yi et al., "pFedLoRA: Model-Heterogeneous Personalized Federated Learning with LoRA
Tuning", 2023, https://arxiv.org/abs/2310.13283

Client k has a model phi_k of its own: f_k up to the last layer, and a head h_k. Beside the head
there is a small homogeneous adapter omega, a low-rank matrix from features to labels:

    omega(x) = B A P_k f_k(x),   phi(x) = h_k(f_k(x))

A round on the client, with l the cross-entropy:

    1. omega frozen:  phi_k <- minimise  mu l(omega(x), y) + (1 - mu) l(phi(x), y)
    2. phi_k frozen:  omega <- minimise  the same

Only omega travels: omega = sum_k n_k omega_k / sum_k n_k, A and B each by itself. phi_k stays on
the client's node. P_k, a client's own too, is there only where its features have another width
than omega's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from models.beside.keys import A_KEY, B_KEY
from models.schema import NamedArrays
from strategies import base
from strategies.hetero.shared_part import SharedPart, first_matrix, head_shape
from strategies.rounds.context import Scalar


class PFedLoRAOptions(base.Options):
    """Options of `PFedLoRA`."""

    mu: Annotated[float, Field(gt=0, le=1, description="share of omega in loss and prediction")] = (
        0.5
    )
    rank: Annotated[int, Field(ge=1, le=4096, description="rank of omega")] = 8
    features: Annotated[
        int, Field(ge=0, le=65536, description="width of omega's input; 0 = the run's own model's")
    ] = 0


class PFedLoRA(SharedPart):
    """A low-rank adapter beside each client's own model is shared."""

    about: ClassVar[str] = "a small adapter beside each client's own model is shared"
    travels: ClassVar[str] = "the low-rank adapter beside the head"
    Options: ClassVar[type[base.Options]] = PFedLoRAOptions
    options: PFedLoRAOptions

    def part(self, arrays: NamedArrays) -> NamedArrays:
        """Return the first omega: A random, B zero."""
        labels, width = head_shape(arrays.schema)
        rank = self.options.rank
        a = first_matrix(arrays, "omega", rank, self.options.features or width)
        return NamedArrays.of(
            {A_KEY: a, B_KEY: np.zeros((labels, rank), np.float32)},
            {"kind": "pfedlora", "rank": rank},
        )

    @property
    def told(self) -> Mapping[str, Scalar]:
        """The client half, with the shape of omega and mu."""
        return {
            "trainer": "pfedlora",
            "trainer.mu": self.options.mu,
            "trainer.rank": self.options.rank,
            "trainer.features": self.arrays[A_KEY].shape[1],
        }
