"""FedKD: Wu et al., "Communication-efficient federated learning via knowledge distillation", Nature
Communications 13, 2022, https://arxiv.org/abs/2108.13323

Every client has a mentor t of its own and a mentee s, the same for all, which learn from the labels
and from each other; how much from each other depends on how well both do:

    L_t = L_t^c + (D_KL(p_s || p_t) + MSE(H_t, W_h H_s)) / (L_t^c + L_s^c)
    L_s = L_s^c + (D_KL(p_t || p_s) + MSE(H_t, W_h H_s)) / (L_t^c + L_s^c)

L^c is the cross-entropy, H a model's features, W_h a matrix of the client's own. Only the mentees
travel, and are averaged with equal weights. The client predicts by its mentor.

The paper also sends the mentee's changes as truncated singular value decompositions. Here the
mentee is an adapter of the run's own model, whose arrays are low-rank factors to begin with: they
travel as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from strategies import base
from strategies.fedavg import FedAvg
from strategies.hetero.common_model import CommonModelShared
from strategies.rounds.context import Scalar


class FedKDOptions(base.Options):
    """Options of `FedKD`."""

    clip: Annotated[
        float, Field(ge=0, description="longest gradient of each model; 0 = any length")
    ] = 10.0


class FedKD(CommonModelShared):
    """A mentee learns with each client's own model; it is shared."""

    about: ClassVar[str] = "a common mentee and each client's own mentor learn from each other"
    travels: ClassVar[str] = "the mentee's adapter"
    Options: ClassVar[type[base.Options]] = FedKDOptions
    options: FedKDOptions

    def __init__(self, inner: base.Strategy | None = None, **options: Any) -> None:
        super().__init__(inner or FedAvg(weights="uniform"), **options)

    @property
    def told(self) -> Mapping[str, Scalar]:
        """The client half, and where gradients are cut."""
        return {"trainer": "fedkd", "trainer.clip": self.options.clip}
