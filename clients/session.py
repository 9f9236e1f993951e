"""What a worker process keeps between messages: the base with its adapter, and the data.

In simulation the process lives on and this is built once; on real nodes each message is a new
process and this is built for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from clients.data import ClientData, Examples, Federation, load_federation, load_site
from clients.objectives import OBJECTIVES, Objective
from clients.plan import Plan, Recipe
from clients.preparation import make_preparation
from clients.training import Evaluated, Prepared, Trained, evaluate, train
from models.adapted import AdaptedModel
from models.adapters import make_adapter, option_errors
from models.checkpoint import fingerprint, resolve_checkpoint
from models.errors import ClientError, ModelError, nearest
from models.randomness import derive_generator, derive_seed
from models.schema import NamedArrays, Schema
from models.tasks import load_base

POOLED = "@pooled"
_KEPT_CLIENTS = 4096


def choose_device(wanted: str) -> str:
    """Return a torch device name; ``auto`` takes the accelerator that is there."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "cpu"


def build_model(plan: Plan, bases: Path) -> AdaptedModel:
    """Load the base that a plan names and put its adapter on, the same everywhere.

    Raises
    ------
    ClientError
        ``unprepared`` where a shipped base is not here, ``base`` where it is another one,
        ``schema`` where the adapter comes out different.
    """
    folder = resolve_checkpoint(plan.model, bases, plan.base)
    if folder is None:
        raise ClientError("unprepared", f"the base {plan.base} is not on this node")
    found = fingerprint(folder, bases)
    if found != plan.base:
        raise ClientError("base", f"this node's base is {found}, the server's is {plan.base}")
    model = assemble(
        folder,
        kind=plan.kind,
        labels=plan.labels,
        base=found,
        adapter=plan.adapter,
        adapter_args=dict(plan.adapter_args),
        seed=plan.seed,
        device=choose_device(plan.device),
    )
    wanted = plan.parsed_schema
    if plan.schema and model.schema.hash != wanted.hash:
        raise ClientError("schema", "; ".join(wanted.differences(model.schema)[:3]))
    return model


def assemble(
    folder: Path,
    *,
    kind: str,
    labels: tuple[str, ...],
    base: str,
    adapter: str,
    adapter_args: Mapping[str, object],
    seed: int,
    device: str,
) -> AdaptedModel:
    """Load a base from its folder and put an adapter on it; server and clients both do this."""
    if kind not in ("image", "text"):
        raise ModelError(f"no model is known for data of kind '{kind}'")
    loaded = load_base(folder, kind, labels, derive_seed(seed, "head"))  # type: ignore[arg-type]
    return AdaptedModel(
        loaded,
        kind,  # type: ignore[arg-type]
        make_adapter(adapter, adapter_args),
        {"kind": adapter, "base": base, "labels": len(labels)},
        derive_seed(seed, "adapter"),
        device,
    )


def prepare(examples: Examples, labels: tuple[str, ...], preparation: object) -> Prepared:
    """Turn examples into inputs and targets."""
    inputs = preparation.inputs(examples)  # type: ignore[attr-defined]
    return Prepared(inputs, examples.label_ids(labels), examples.group_values())


class Session:
    """A plan at work in this process.

    Parameters
    ----------
    plan : Plan
    bases : Path
        Folder of shipped and pretrained bases.
    sites : mapping of str to str
        For real nodes, data path by client id; empty where the data set is divided over clients.
    """

    def __init__(self, plan: Plan, bases: Path, sites: Mapping[str, str]) -> None:
        if plan.threads:
            torch.set_num_threads(plan.threads)
        self.plan = plan
        self._sites = dict(sites)
        self._model: AdaptedModel | None = None
        self._bases = bases
        folder = resolve_checkpoint(plan.model, bases, plan.base)
        if folder is None:
            raise ClientError("unprepared", f"the base {plan.base} is not on this node")
        self._preparation = make_preparation(folder, plan.kind, dict(plan.model_args))
        self._federation: Federation | None = None
        self._prepared: OrderedDict[tuple[str, str], Prepared] = OrderedDict()

    @property
    def schemas(self) -> Mapping[str, Schema]:
        """The schemas this node can read, by hash."""
        schema = self.plan.parsed_schema
        return {schema.hash: schema}

    @property
    def model(self) -> AdaptedModel:
        """The base with its adapter, loaded at first use."""
        if self._model is None:
            self._model = build_model(self.plan, self._bases)
        return self._model

    def train(
        self, client: str, start: NamedArrays, server_round: int, options: Mapping[str, object]
    ) -> Trained:
        """Train one client; randomness comes from (seed, round, client)."""
        recipe = override(self.plan.recipe, options)
        objective = self._objective(options)
        generator = derive_generator(self.plan.seed, server_round, client, "train")
        data = self.part(client, "train")
        return train(self.model, data, start.vector, recipe, objective, generator)

    def evaluate(self, client: str, arrays: NamedArrays) -> Evaluated:
        """Evaluate what a client would use on its own test part."""
        return evaluate(self.model, self.part(client, "test"), arrays.vector)

    def _objective(self, options: Mapping[str, object]) -> Objective:
        name = str(options.get("objective", self.plan.objective))
        if name not in OBJECTIVES:
            raise ClientError(
                "objective", f"'{name}' is not on this node; {nearest(name, OBJECTIVES)}"
            )
        own = {k.removeprefix("objective."): v for k, v in options.items() if "objective." in k}
        given = own or (dict(self.plan.objective_args) if name == self.plan.objective else {})
        errors = option_errors(OBJECTIVES[name], given)
        if errors:
            raise ClientError("objective", f"{name}: {'; '.join(errors)}")
        return OBJECTIVES[name].model_validate(given)

    def _data(self, client: str) -> ClientData:
        if client in self._sites:
            return load_site(self.plan.data, self._sites[client], client)
        if self._federation is None:
            self._federation = load_federation(self.plan.data)
        return self._federation.pooled() if client == POOLED else self._federation.client(client)

    def part(self, client: str, part: str) -> Prepared:
        """Return a client's ``"train"`` or ``"test"`` part, prepared once."""
        key = (client, part)
        if key not in self._prepared:
            data = self._data(client)
            examples = data.train if part == "train" else data.test
            self._prepared[key] = prepare(examples, self.plan.labels, self._preparation)
            while len(self._prepared) > _KEPT_CLIENTS:
                self._prepared.popitem(last=False)
        self._prepared.move_to_end(key)
        return self._prepared[key]


def override(recipe: Recipe, options: Mapping[str, object]) -> Recipe:
    """Apply what a message says of training; unknown keys are left to others."""
    changes: dict[str, object] = {}
    for key in ("local-epochs", "local-steps", "batch-size"):
        if key in options:
            changes[key.replace("-", "_")] = int(str(options[key]))
    if "learning-rate" in options:
        changes["learning_rate"] = float(str(options["learning-rate"]))
    return replace(recipe, **changes) if changes else recipe  # type: ignore[arg-type]
