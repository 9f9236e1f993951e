"""The base of all client halves, and what one client's round has at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from clients.personal_state import Kept
from models.lora.factors import rank_of, with_rank
from models.lora.resize import resized
from models.schema import NamedArrays, Schema, Vector

if TYPE_CHECKING:
    from clients.evaluation import Evaluated, Rule
    from clients.objectives import Objective
    from clients.plan import Recipe
    from clients.training import Prepared, Trained
    from models.adapted import AdaptedModel
    from models.beside.extended import Extension


@dataclass(frozen=True)
class Outcome:
    """What a client returns.

    Attributes
    ----------
    arrays : NamedArrays
        Of the schema that the server half asked for.
    metrics : mapping
        Finite numbers; ``train_loss`` among them.
    notes : mapping
        Structured JSON values, such as counts by group.
    """

    arrays: NamedArrays
    metrics: Mapping[str, float]
    notes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class ClientRound:
    """One client's round: everything that a client half may use.

    Attributes
    ----------
    client : str
    round : int
    start : NamedArrays
        What the server sent.
    model : AdaptedModel
        The frozen base with its adapter; holds whatever was trained last.
    initial : NamedArrays
        The adapter as it was before anybody trained, the same on every client.
    recipe : Recipe
    objective : Objective
    kept : Kept or None
        What this client kept in an earlier round.
    keep : callable
        ``(arrays, values)``: keeps them for its next round.
    part : callable
        ``("train" or "test")``: the client's examples, as they are in this round.
    generator : callable
        ``(purpose)``: a generator from (seed, round, client, purpose).
    part_before : callable or None
        ``("train" or "test")``: its examples of the slot before; None in the first slot, and where
        data do not drift.
    """

    client: str
    round: int
    start: NamedArrays
    model: AdaptedModel
    initial: NamedArrays
    recipe: Recipe
    objective: Objective
    kept: Kept | None
    keep: Callable[[Mapping[str, npt.NDArray[np.generic]], Mapping[str, object]], None]
    part: Callable[[str], Prepared]
    generator: Callable[[str], np.random.Generator]
    part_before: Callable[[str], Prepared] | None = None

    def fit(
        self,
        start: Vector,
        *,
        recipe: Recipe | None = None,
        objective: Objective | None = None,
        trainable: Schema | None = None,
        purpose: str = "train",
        data: Prepared | None = None,
    ) -> Trained:
        """Train the adapter on the client's examples.

        Parameters
        ----------
        start : ndarray, shape (model.schema.size,)
        recipe, objective : optional
            Instead of the round's own.
        trainable : Schema, optional
            The arrays that may change; all by default.
        purpose : str
            Of the generator; another one for each fit of a round.
        data : Prepared, optional
            Instead of the client's training examples of this round.
        """
        from clients.training import train

        return train(
            self.model,
            self.part("train") if data is None else data,
            start,
            recipe or self.recipe,
            objective or self.objective,
            self.generator(purpose),
            trainable,
        )


class Trainer(BaseModel):
    """A client half: it trains the adapter from what the server sent and returns it.

    The fields of a subclass are its options; the server half sends them as ``trainer.<option>``.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
    )
    about: ClassVar[str] = "trains the adapter from what the server sent"

    def train(self, work: ClientRound) -> Outcome:
        """Do the round's work."""
        full = self.model_of(work)
        trained = work.fit(full.vector)
        wide = NamedArrays(full.schema, trained.vector)
        return Outcome(resized(wide, work.start.schema), {"train_loss": trained.loss})

    def extension(self) -> Extension | None:
        """Return what the method puts beside the client's model; the same every round."""
        return None

    def rule_of(self, work: ClientRound) -> Rule | None:
        """Return how the client classifies, if not by its head alone."""
        return None

    def evaluate(self, work: ClientRound) -> Evaluated:
        """Evaluate what the client would use on its own test part."""
        from clients.evaluation import evaluate

        return evaluate(
            work.model, work.part("test"), self.model_of(work).vector, self.rule_of(work)
        )

    def model_of(self, work: ClientRound) -> NamedArrays:
        """Return the adapter that the client would use now, of the model's schema.

        A start of lower rank is filled up with zeros, which training leaves as they are: where
        the rows of A and the columns of B are zero, so are their gradients.
        """
        start, schema = work.start, work.model.schema
        if start.schema.hash == schema.hash:
            return start
        return resized(start, with_rank(start.schema, rank_of(schema), "proportional"))

    def others_of(self, work: ClientRound) -> Mapping[str, NamedArrays]:
        """Return further adapters that are evaluated beside `model_of`'s, by name.

        A client's metrics then hold ``accuracy_<name>`` and ``loss_<name>``. The server
        summarises ``shared``, what the client would use without a model of its own, and
        ``before_aggregation``, what it had trained before the server mixed it with others.
        """
        return {}

    def said_of(self, work: ClientRound) -> Mapping[str, float]:
        """Return what the client says beside its scores when it evaluates `model_of`'s adapter."""
        return {}
