"""FedCAC's client half: says which of its numbers are critical.

Wu et al., "Bold but Cautious: Unlocking the Potential of Personalized Federated Learning through
Cautiously Aggressive Collaboration", ICCV 2023, https://arxiv.org/abs/2309.11103. After local
training from w_i, for each array l of n_l numbers,

    c_l = |(w_new,l - w_i,l) * w_new,l|        sensitivity
    thr_l = the floor(tau n_l)-th largest of c_l
    m_l = 1 where c_l >= thr_l                 critical

By array, not over all. What the official code does at the edges is done here too: numbers equal to
thr_l are critical; thr_l up to 1e-10 becomes the smallest c_l above 1e-20; an array that did not
change at all is critical as a whole; floor(tau n_l) = 0 makes nothing of it critical.

The mask goes back with w_new, a bit a number. The model as trained also stays on the node, to be
evaluated beside the mixture that the server makes of it: ``before_aggregation``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from clients.trainers.around import Around
from clients.trainers.base import ClientRound, Outcome
from models.payloads.masked import Mask, masked
from models.schema import NamedArrays

_NOTHING, _LEAST = np.float32(1e-10), np.float32(1e-20)


def critical(sensitivity: npt.NDArray[np.floating], tau: float) -> Mask:
    """Return which numbers of one array are critical.

    Parameters
    ----------
    sensitivity : ndarray, shape (n,)
        At least 0.
    tau : float
        Share that is critical, from 0 to 1.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    size = sensitivity.shape[0]
    count = int(tau * size)
    if count == 0:
        return np.zeros(size, dtype=bool)
    threshold = np.partition(sensitivity, size - count)[size - count]
    if threshold <= _NOTHING:
        above = sensitivity[sensitivity > _LEAST]
        threshold = above.min() if above.size else threshold
    mask: Mask = sensitivity >= threshold
    return mask


def critical_mask(old: NamedArrays, new: NamedArrays, tau: float) -> Mask:
    """Return the mask of all arrays, shape (new.schema.size,), array by array."""
    sensitivity = np.abs((new.vector - old.vector) * new.vector)
    places = [place for place, _ in new.schema.slices.values()]
    return np.concatenate([critical(sensitivity[place], tau) for place in places])


class FedCACTrainer(Around):
    """Trains what it was sent, and returns it with the mask of what is critical."""

    about: ClassVar[str] = "returns the trained adapter with a mask of its critical numbers"
    tau: Annotated[float, Field(ge=0, le=1, description="share of an array that is critical")] = 0.5

    def train(self, work: ClientRound) -> Outcome:
        """Return w_new and its mask."""
        inside, held = self.inside(work)
        outcome = self.inner.train(inside)
        mask = critical_mask(work.start, outcome.arrays, self.tau)
        self.keep(work, held, dict(outcome.arrays), {})
        return replace(outcome, arrays=masked(outcome.arrays, mask))

    def others_of(self, work: ClientRound) -> Mapping[str, NamedArrays]:
        """Return the model as it was trained last."""
        inside, own = self.inside(work)[0], self.own(work)
        others = self.inner.others_of(inside)
        if not own:
            return others
        trained = replace(inside, start=work.start.overlaid(own))
        return {**others, "before_aggregation": self.inner.model_of(trained)}
