"""FedDAA's client half: class prototypes when a slot begins, and soft training of all learners.

The equations and the paper are in `strategies.clusters.feddaa`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from clients.trainers.base import ClientRound, Outcome, Trainer
from clients.trainers.clusters.mixture import label_masses, responsibilities
from models.schema import NamedArrays, Schema
from models.stacked import beside, stack, taken_apart

if TYPE_CHECKING:
    from clients.evaluation import Evaluated
    from clients.training import Prepared

_NEGLIGIBLE = 1e-3
"""A learner with less of a client's data comes back as it was."""


class FedDAATrainer(Trainer):
    """Says how the reference model answers its data, or trains each learner on its share."""

    about: ClassVar[str] = "class prototypes of a slot, then soft training of several learners"
    phase: Annotated[Literal["train", "prototypes"], Field(description="what the round is for")] = (
        "train"
    )
    keep_old: Annotated[
        bool, Field(description="train on the slot before too: there was no real drift")
    ] = False
    first: Annotated[
        str, Field(description="comma list, the weights of all examples in a slot's first round")
    ] = ""
    pi: Annotated[
        str, Field(description="comma list, the learners' shares so far; empty = equal")
    ] = ""

    def train(self, work: ClientRound) -> Outcome:
        """Return prototypes, or the trained learners and how labels spread over them."""
        if self.phase == "prototypes":
            return _prototypes(work)
        learners, tables = taken_apart(work.start)
        data = self._data(work)
        c = tables["labels"]
        if self.first:
            gamma = np.repeat(_shares(self.first)[:, None], len(data), axis=1)
        else:
            losses = _losses(work, learners, data)
            gamma = responsibilities(losses, self._pi(len(learners)), c, data.targets)
        total, trained = 0.0, []
        for number, (learner, share) in enumerate(zip(learners, gamma, strict=True)):
            if share.mean() < _NEGLIGIBLE:
                trained.append(learner)
                continue
            weighted = replace(data, weights=share.astype(np.float32))
            done = work.fit(learner.vector, purpose=f"learner {number}", data=weighted)
            trained.append(learner.replace(done.vector))
            total += done.loss
        masses = label_masses(gamma, data.targets, c.shape[1])
        arrays = beside(stack(trained), labels=masses)
        return Outcome(arrays, {"train_loss": total, "trained-on": float(len(data))})

    def evaluate(self, work: ClientRound) -> Evaluated:
        """Evaluate sum_m pi_m p_m(y|x), the learners' mean answer by the client's own shares."""
        import torch

        from clients.evaluation import outputs, scored

        learners, pi = self._explained(work)
        test = work.part("test")
        mixed = torch.stack(
            [
                torch.log_softmax(outputs(work.model, test, learner.vector).double(), dim=1)
                + float(np.log(max(share, np.finfo(float).tiny)))
                for learner, share in zip(learners, pi, strict=True)
            ]
        ).logsumexp(dim=0)
        return scored(mixed, test)

    def model_of(self, work: ClientRound) -> NamedArrays:
        """Return the learner that has most of the client's data."""
        learners, pi = self._explained(work)
        return learners[int(np.argmax(pi))]

    def _explained(
        self, work: ClientRound
    ) -> tuple[tuple[NamedArrays, ...], npt.NDArray[np.float64]]:
        """Return the learners and pi; before training in a slot, by the training examples."""
        learners, tables = taken_apart(work.start)
        pi, own = self._pi(len(learners)), work.part("train")
        if not self.pi and len(own):
            losses = _losses(work, learners, own)
            pi = responsibilities(losses, pi, tables["labels"], own.targets).mean(axis=1)
        return learners, pi

    def _pi(self, count: int) -> npt.NDArray[np.float64]:
        if not self.pi:
            return np.full(count, 1 / count)
        return _shares(self.pi)

    def _data(self, work: ClientRound) -> Prepared:
        now = work.part("train")
        if not self.keep_old or work.part_before is None:
            return now
        return work.part_before("train").joined(now)


def _shares(text: str) -> npt.NDArray[np.float64]:
    return np.array([float(share) for share in text.split(",")])


def _prototypes(work: ClientRound) -> Outcome:
    """Return P_i^{t-1} and P_i^t by the model that was sent, and which classes there are."""
    now = work.part("train")
    before = now if work.part_before is None else work.part_before("train")
    (new, present), (old, was) = (_class_means(work, part) for part in (now, before))
    arrays = {"new": new, "new-present": present, "old": old, "old-present": was}
    loss = float(_losses(work, (work.start,), now).mean())
    schema = Schema.of(arrays)
    vector = np.concatenate([arrays[spec.key].ravel() for spec in schema.arrays])
    return Outcome(NamedArrays(schema, vector), {"train_loss": loss})


def _class_means(
    work: ClientRound, data: Prepared
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the mean output of each class, zeros where there is none, and which there are."""
    from clients.evaluation import outputs

    logits = outputs(work.model, data, work.start.vector).numpy()
    of_class = np.eye(logits.shape[1], dtype=np.float64)[data.targets]
    counts = of_class.sum(axis=0)
    means = of_class.T @ logits / np.maximum(counts, 1)[:, None]
    return means.astype(np.float32), (counts > 0).astype(np.float32)


def _losses(
    work: ClientRound, learners: tuple[NamedArrays, ...], data: Prepared
) -> npt.NDArray[np.float64]:
    """Return each learner's loss on each example, shape (M, n)."""
    import torch

    from clients.evaluation import outputs

    targets = torch.from_numpy(data.targets)
    return np.stack(
        [
            torch.nn.functional.cross_entropy(
                outputs(work.model, data, learner.vector).double(), targets, reduction="none"
            ).numpy()
            for learner in learners
        ]
    )
