"""What a worker process keeps between messages: the base with its adapter, and the data.

In simulation the process lives on and this is built once; on real nodes each message is a new
process and this is built for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from clients.bases import Bases
from clients.evaluation import Evaluated, evaluate
from clients.grouping import group_examples
from clients.holdings import Holdings
from clients.objectives import OBJECTIVES, Objective
from clients.personal_state import PersonalState
from clients.plan import Plan, Recipe
from clients.preparation import Preparation
from clients.task import Task
from clients.trainers import TRAINERS, Around, ClientRound, Outcome, Trainer
from clients.training import Prepared
from models.adapted import AdaptedModel
from models.adapters import option_errors
from models.errors import ClientError, nearest
from models.lora.base_change import BaseChanges
from models.messages import COLLECT, COUNT_GROUPS, RunIdentity
from models.randomness import derive_generator
from models.schema import Schema

Arrays = Mapping[str, npt.NDArray[np.generic]]


class Session:
    """A plan at work in this process.

    Parameters
    ----------
    plan : Plan
    state : Path
        The node's state folder: shipped and pretrained bases, personal state.
    sites : mapping of str to str
        For real nodes, data path by client id; empty where the data set is divided over clients.
    own_model : str
        The base model that the node has of its own; empty where it takes the plan's.
    loaded : AdaptedModel, optional
        The plan's own model, where it was loaded already.
    """

    def __init__(
        self,
        plan: Plan,
        state: Path,
        sites: Mapping[str, str],
        own_model: str = "",
        loaded: AdaptedModel | None = None,
    ) -> None:
        if plan.threads:
            torch.set_num_threads(plan.threads)
        self.plan = plan
        self._state = state
        self._bases = Bases(plan, state / "bases", own_model, loaded)
        self._names: dict[str, str] = {}
        self.holdings = Holdings(plan, sites, self._preparation)

    @property
    def schemas(self) -> Mapping[str, Schema]:
        """The schemas this node can read, by hash."""
        schema = self.plan.parsed_schema
        return {schema.hash: schema}

    def take_changes(self, run: RunIdentity, changes: Mapping[int, bytes]) -> None:
        """Keep changes of the base that came with a message."""
        kept = base_changes(self._state, run.uid)
        for version, data in changes.items():
            kept.write(version, data)

    def train(self, task: Task) -> Outcome:
        """Train one client; randomness comes from (seed, round, client).

        Asked to be collected, it trains nothing and returns the adapter that it uses.
        """
        trainer = self._trainer(task.options)
        if task.options.get(COLLECT):
            used = trainer.model_of(self._round(task, before=task.server_round + 1))
            return Outcome(used, {"train_loss": 0.0})
        work = self._round(task, before=task.server_round)
        outcome = trainer.train(work)
        if task.options.get(COUNT_GROUPS):
            counts = group_examples(work.model.schema.facts, work.part("train"))
            outcome = replace(outcome, notes={**outcome.notes, "group_examples": counts})
        store = self._store(task)
        if store is not None:
            store.forget_before(task.run.oldest)
        return outcome

    def evaluate(self, task: Task) -> Evaluated:
        """Evaluate what a client would use on its own test part.

        With ``personalise-epochs`` that is the model after so many epochs on its train part, and
        the model before is ``shared``. Nothing of it is kept, and round 0 is left as it is.
        """
        # What it kept in this very round is part of that.
        work = self._round(task, before=task.server_round + 1)
        trainer, test = self._trainer(task.options), work.part("test")
        rule = trainer.rule_of(work)
        found = trainer.evaluate(work)
        others = {
            name: evaluate(work.model, test, arrays.vector)
            for name, arrays in trainer.others_of(work).items()
        }
        epochs = int(str(task.options.get("personalise-epochs", self.plan.personalise_epochs)))
        if epochs and task.server_round and len(work.part("train")):
            used = trainer.model_of(work)
            recipe = replace(work.recipe, local_epochs=epochs, local_steps=0)
            tuned = work.fit(used.vector, recipe=recipe, purpose="personalise")
            others = {"shared": found} | others
            found = evaluate(work.model, test, tuned.vector, rule)
        return replace(found, others={**found.others, **others}, said=trainer.said_of(work))

    def _round(self, task: Task, before: int) -> ClientRound:
        store = self._store(task)
        seed, plan = self.plan.seed, self.plan
        known = store.before(before) if store is not None else None
        name = self._names[task.client] = self._bases.name(task.options)
        built = self._bases.built(name, self._trainer(task.options).extension())
        built.model.set_scaling(task.start.schema.facts)
        changes = base_changes(self._state, task.run.uid)
        built.model.base.put_to(task.run.uid, task.base_version, changes)

        def keep(arrays: Arrays, values: Mapping[str, object]) -> None:
            if store is None:
                raise ClientError("state", "the message names no run to keep anything for")
            store.write(task.server_round, arrays, values)

        return ClientRound(
            client=task.client,
            round=task.server_round,
            start=task.start,
            model=built.model,
            initial=built.initial,
            recipe=override(plan.recipe.at(task.server_round), task.options),
            objective=self._objective(task.options),
            kept=known,
            keep=keep,
            part=lambda part: self.part(task.client, part, task.server_round),
            part_before=self._part_before(task),
            generator=lambda purpose: derive_generator(
                seed, task.server_round, task.client, purpose
            ),
        )

    def _store(self, task: Task) -> PersonalState | None:
        if not task.run.uid:
            return None
        return PersonalState(self._state, task.run.uid, task.client)

    def _trainer(self, options: Mapping[str, object]) -> Trainer:
        trainer = _named_trainer(options, "trainer", "plain")
        if "around" not in options:
            return trainer
        outer = _named_trainer(options, "around", "")
        if not isinstance(outer, Around):
            raise ClientError("trainer", f"'{options['around']}' does not go around another one")
        return outer.around(trainer)

    def _objective(self, options: Mapping[str, object]) -> Objective:
        name = str(options.get("objective", self.plan.objective))
        _require("objective", name, OBJECTIVES)
        given = _own(options, "objective")
        if not given and name == self.plan.objective:
            given = dict(self.plan.objective_args)
        return _made(OBJECTIVES[name], name, given)

    def _preparation(self, client: str) -> Preparation:
        return self._bases.preparation(self._names.get(client) or self._bases.name({}))

    def part(self, client: str, part: str, server_round: int = 0) -> Prepared:
        """Return a client's ``"train"`` or ``"test"`` part as it is in a round."""
        return self.holdings.part(client, part, self.holdings.slot(server_round))

    def _part_before(self, task: Task) -> Callable[[str], Prepared] | None:
        slot = self.holdings.slot(task.server_round)
        if slot == 0:
            return None
        return lambda part: self.holdings.part(task.client, part, slot - 1)


def _named_trainer(options: Mapping[str, object], half: str, default: str) -> Trainer:
    """Return the client half that ``trainer`` or ``around`` names, with its options."""
    name = str(options.get(half, default))
    _require("trainer", name, TRAINERS)
    return _made(TRAINERS[name], name, _own(options, half))


def _require(half: str, name: str, known: Mapping[str, object]) -> None:
    if name not in known:
        raise ClientError(
            half,
            f"'{name}' is not on this node; install the package that brings it there; "
            f"{nearest(name, known)}",
        )


def base_changes(state: Path, run: str) -> BaseChanges:
    """Return the changes of the base that a node was given in a run."""
    return BaseChanges(state / "changes" / (run or "none"))


_Half = TypeVar("_Half", Objective, Trainer)


def _own(options: Mapping[str, object], half: str) -> dict[str, object]:
    """Return the options ``<half>.<option>`` of a message."""
    start = f"{half}."
    return {k.removeprefix(start): v for k, v in options.items() if k.startswith(start)}


def _made(kind: type[_Half], name: str, options: Mapping[str, object]) -> _Half:
    errors = option_errors(kind, options)
    if errors:
        raise ClientError("options", f"{name}: {'; '.join(errors)}")
    return kind.model_validate(options)


def override(recipe: Recipe, options: Mapping[str, object]) -> Recipe:
    """Apply what a message says of training; unknown keys are left to others."""
    changes: dict[str, object] = {}
    for key in ("local-epochs", "local-steps", "batch-size"):
        if key in options:
            changes[key.replace("-", "_")] = int(str(options[key]))
    if "learning-rate" in options:
        changes["learning_rate"] = float(str(options["learning-rate"]))
    return replace(recipe, **changes) if changes else recipe  # type: ignore[arg-type]
