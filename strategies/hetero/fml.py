"""FML: Shen et al., "Federated Mutual Learning", 2020, https://arxiv.org/abs/2006.16765

Every client has a local model of its own and a meme model, the same for all. They learn from the
labels and from each other, D_KL the divergence between their predicted probabilities:

    L_local = alpha L_C(local) + (1 - alpha) D_KL(p_meme || p_local)
    L_meme  = beta  L_C(meme)  + (1 - beta)  D_KL(p_local || p_meme)

Only the meme models travel and are averaged. The client predicts by its local model. Here the meme
is the run's own model with an adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from strategies import base
from strategies.hetero.common_model import CommonModelShared
from strategies.rounds.context import Scalar


class FMLOptions(base.Options):
    """Options of `FML`."""

    alpha: Annotated[float, Field(ge=0, le=1, description="labels' share in the local loss")] = 0.5
    beta: Annotated[float, Field(ge=0, le=1, description="labels' share in the meme's loss")] = 0.5


class FML(CommonModelShared):
    """A meme model learns with each client's own; it is shared."""

    about: ClassVar[str] = "a common model learns with each client's own, and is shared"
    travels: ClassVar[str] = "the common model's adapter"
    Options: ClassVar[type[base.Options]] = FMLOptions
    options: FMLOptions

    @property
    def told(self) -> Mapping[str, Scalar]:
        """The client half, with alpha and beta."""
        given = self.options
        return {"trainer": "fml", "trainer.alpha": given.alpha, "trainer.beta": given.beta}
