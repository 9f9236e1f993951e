"""The base models of a worker process, with their adapters: one for each variant that it meets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from clients.model_args import feature_dim
from clients.plan import Plan
from clients.preparation import Preparation, make_preparation
from models.adapted import AdaptedModel
from models.adapters import make_adapter
from models.bases.loading import Loading
from models.beside.extended import Extension
from models.checkpoint import fingerprint, resolve_checkpoint
from models.errors import ClientError, ModelError
from models.prototypes.projection import projected
from models.randomness import derive_seed
from models.schema import NamedArrays
from models.tasks import TASKS, load_base


def choose_device(wanted: str) -> str:
    """Return a torch device name; ``auto`` takes the accelerator that is there."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "cpu"


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
    feature_dim: int = 0,
    loading: Loading | None = None,
) -> AdaptedModel:
    """Load a base from its folder and put an adapter on it; server and clients both do this."""
    keywords = (loading or Loading()).keywords(device)
    if kind not in TASKS:
        raise ModelError(f"no model is known for data of kind '{kind}'")
    loaded = load_base(folder, kind, labels, derive_seed(seed, "head"), keywords)
    if feature_dim:
        loaded = projected(loaded, len(labels), feature_dim, derive_seed(seed, "projection"))
    return AdaptedModel(
        loaded,
        kind,
        make_adapter(adapter, adapter_args),
        {
            "kind": adapter,
            "base": base,
            **({"labels": len(labels)} if labels else {}),
            "head": ",".join(sorted(loaded.fresh)),
        },
        derive_seed(seed, "adapter"),
        device,
    )


@dataclass(frozen=True)
class Built:
    """A model, and its trainable numbers before any training."""

    model: AdaptedModel
    initial: NamedArrays


class Bases:
    """The base models that a plan names, loaded at first use.

    Parameters
    ----------
    plan : Plan
    folder : Path
        Where shipped and pretrained bases are kept.
    own : str
        The model that this node has of its own; empty where it takes those of the plan.
    loaded : AdaptedModel, optional
        The plan's own model, where it was loaded already.

    Raises
    ------
    ClientError
        ``unprepared`` where a shipped base is not here.
    """

    def __init__(
        self, plan: Plan, folder: Path, own: str = "", loaded: AdaptedModel | None = None
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._own = own
        self._known = {**dict(plan.variants), plan.model: plan.base}
        self._built: OrderedDict[tuple[str, Extension | None], Built] = OrderedDict()
        if loaded is not None:
            self._built[plan.model, None] = Built(loaded, loaded.arrays())
        self._preparations: dict[str, Preparation] = {}
        self.preparation(own or plan.model)

    def name(self, options: Mapping[str, object]) -> str:
        """Return the model of the client that a message is for.

        Raises
        ------
        ClientError
            ``variant`` for one that the plan does not have.
        """
        name = self._own or str(options.get("variant") or self._plan.model)
        if name != self._own and name not in self._known:
            raise ClientError("variant", f"the plan has no model '{name}'")
        return name

    def preparation(self, name: str) -> Preparation:
        """Return how a model wants its inputs."""
        if name not in self._preparations:
            plan = self._plan
            self._preparations[name] = make_preparation(
                self._place(name), plan.kind, dict(plan.model_args), dict(plan.task_args)
            )
        return self._preparations[name]

    def built(self, name: str, extension: Extension | None = None) -> Built:
        """Return a model with its adapter, and with what a method puts beside it.

        Raises
        ------
        ClientError
            ``unprepared`` where a shipped base is not here, ``base`` where it is another one,
            ``schema`` where the adapter comes out different.
        """
        key = (name, extension)
        if key not in self._built:
            model = self._build(name)
            if extension is not None:
                seed = derive_seed(self._plan.seed, "beside")
                model = extension.extend(model, lambda: self._build(self._plan.model), seed)
            self._built[key] = Built(model, model.arrays())
            while len(self._built) > len(self._known) + 1:
                self._built.popitem(last=False)
        self._built.move_to_end(key)
        return self._built[key]

    def _build(self, name: str) -> AdaptedModel:
        plan, folder = self._plan, self._place(name)
        found, wanted = fingerprint(folder, self._folder), self._known.get(name, "")
        if name != self._own and found != wanted:
            raise ClientError("base", f"this node's base is {found}, the server's is {wanted}")
        model = assemble(
            folder,
            kind=plan.kind,
            labels=plan.labels,
            base=found,
            adapter=plan.adapter,
            adapter_args=dict(plan.adapter_args),
            seed=plan.seed,
            device=choose_device(plan.device),
            feature_dim=feature_dim(dict(plan.model_args)),
            loading=Loading.of(dict(plan.model_args)),
        )
        expected = plan.parsed_schema
        if plan.schema and found == plan.base and model.schema.hash != expected.hash:
            raise ClientError("schema", "; ".join(expected.differences(model.schema)[:3]))
        return model

    def _place(self, name: str) -> Path:
        wanted = self._known.get(name, "")
        folder = resolve_checkpoint(name, self._folder, wanted)
        if folder is None:
            raise ClientError("unprepared", f"the base {wanted or name} is not on this node")
        return folder
