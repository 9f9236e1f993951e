"""From settings to what both halves must agree on: the data, the base, the plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from app.registry import registry
from app.settings import Settings
from app.settings.groups import groups_of, with_groups
from clients.data import (
    DataSpec,
    Examples,
    load_federation,
    load_public,
    load_site,
    order_labels,
    public_share,
)
from clients.plan import Plan, Recipe
from models.bases.loading import Loading
from models.bases.variants import TINY_LLAMA, TINY_TABLE, TINY_VIT, Variant
from models.checkpoint import fingerprint, resolve_checkpoint
from models.errors import DataError, ModelError
from models.schema import Schema
from models.tasks import TASKS, Kind

if TYPE_CHECKING:
    from models.adapted import AdaptedModel

Pairs = tuple[tuple[str, object], ...]
_EMBEDDED_KINDS = {"image": TINY_VIT, "table": TINY_TABLE, "causal-lm": TINY_LLAMA}
_TEXTS = "a text model: model='pkg:PACKAGE/PATH', an absolute folder or a Hugging Face name"
_SUITS = {
    "image": f"name a model of images, such as model='{TINY_VIT}'",
    "text": f"name {_TEXTS}",
    "table": f"take model='{TINY_TABLE}'; if one column holds texts, name it in text-column, and "
    + _TEXTS,
    "causal-lm": f"name a model that writes texts, such as model='{TINY_LLAMA}'",
}
# Where nodes with data of their own leave the server without any.
_STAND_INS = {"image": "digits", "causal-lm": "shakespeare"}


@dataclass(frozen=True)
class Base:
    """A resolved base model.

    Attributes
    ----------
    model : str
        As it is written in the settings.
    folder : Path
    fingerprint : str
    embedded : bool
        Whether it was made here and exists nowhere else.
    """

    model: str
    folder: Path
    fingerprint: str
    embedded: bool


NO_BASE = Base("", Path(), "", False)
"""What stands for the run's base model where the server needs none."""


def data_spec(settings: Settings) -> DataSpec:
    """Return the part of the settings that concerns data."""
    return DataSpec(
        task=settings.task,
        dataset=settings.dataset,
        text_column=settings.text_column,
        image_column=settings.image_column,
        label_column=settings.label_column,
        prompt_column=settings.prompt_column,
        response_column=settings.response_column,
        messages_column=settings.messages_column,
        group_columns=settings.group_columns,
        table_columns=settings.table_columns,
        partition=settings.partition,
        partition_args=_pairs(settings.partition_args),
        num_clients=settings.num_clients,
        partition_seed=settings.partition_seed,
        test_fraction=settings.test_fraction,
        public_data=settings.public_data,
        needs_public=_embedded(settings) and public_share(settings.public_data) is not None,
        server_data_path=settings.server_data_path,
        labels=settings.labels,
        drift=settings.drift,
        drift_args=_pairs(settings.drift_args),
    )


def _embedded(settings: Settings) -> bool:
    """Say whether some client's base is pretrained here, on public data."""
    models = (settings.model, *settings.variants)
    return any(Variant.parse(model).embedded for model in models)


def recipe(settings: Settings) -> Recipe:
    """Return the part of the settings that concerns local training."""
    return Recipe(
        local_epochs=settings.local_epochs,
        local_steps=settings.local_steps,
        batch_size=settings.batch_size,
        accumulation=settings.gradient_accumulation,
        gradient_checkpointing=settings.gradient_checkpointing,
        learning_rate=settings.learning_rate,
        schedule=settings.learning_rate_schedule,
        least_rate=settings.least_learning_rate,
        rounds=settings.num_server_rounds if settings.learning_rate_schedule == "cosine" else 0,
        optimizer=settings.optimizer,
        optimizer_args=cast(tuple[tuple[str, float | bool], ...], _pairs(settings.optimizer_args)),
    )


def _pairs(arguments: object) -> Pairs:
    return tuple(sorted(dict(arguments).items()))  # type: ignore[call-overload]


def find_bases(
    settings: Settings, kind: str, bases: Path, own_data: bool
) -> tuple[Base, tuple[Base, ...]]:
    """Find the run's base model, and those that some clients have instead; see `find_base`."""
    public = None
    if settings.variants and kind in _EMBEDDED_KINDS and _embedded(settings):
        public = _public(settings, kind, own_data)
    own, *others = (
        find_base(settings, kind, bases, own_data, public, model)
        for model in (settings.model, *dict.fromkeys(settings.variants))
    )
    return own, tuple(others)


def find_base(
    settings: Settings,
    kind: str,
    bases: Path,
    own_data: bool,
    public: Examples | None = None,
    model: str = "",
) -> Base:
    """Find a base model, pretraining the embedded one if it is new.

    Parameters
    ----------
    settings : Settings
    kind : str
        Of the clients' data.
    bases : Path
    own_data : bool
        Whether nodes hold data of their own, so that `dataset` says nothing of them.
    public : Examples, optional
        Public examples, where they were loaded already.
    model : str
        Another one than the settings'.

    Raises
    ------
    ModelError
        The base is not to be had, or does not fit the data.
    """
    model = model or settings.model
    variant = Variant.parse(model)
    if not variant.embedded:
        folder = resolve_checkpoint(model, bases)
        if folder is None:
            raise ModelError(f"model '{model}' is not on this machine")
        return Base(model, folder, fingerprint(folder, bases), False)
    if _EMBEDDED_KINDS.get(kind) != variant.model:
        raise ModelError(f"model '{model}' is not for the clients' data, {kind}; {_SUITS[kind]}")
    from clients.pretraining import pretrain

    public = public or _public(settings, kind, own_data)
    folder = pretrain(variant, public, settings.partition_seed, bases)
    return Base(model, folder, folder.name, True)


def _public(settings: Settings, kind: str, own_data: bool) -> Examples:
    """Return the public examples that an embedded base is pretrained on."""
    spec = data_spec(settings)
    given = public_share(settings.public_data) is None and settings.public_data
    public = load_public(spec) if given or not own_data else None
    if public is None and kind == "table":
        raise ModelError(
            f"model '{settings.model}' is pretrained on public rows with the clients' columns, and "
            "nodes have data of their own: set public-data to the absolute path of such rows, or "
            "model to the folder of a base that was pretrained before"
        )
    if public is None:
        stand_in = replace(DataSpec(_STAND_INS[kind]), partition="iid", partition_args=())
        public = load_federation(replace(stand_in, task=settings.task)).pooled().train
    return public


def build(settings: Settings, kind: str, labels: tuple[str, ...], base: Base) -> AdaptedModel:
    """Build the server's copy of the model that clients train."""
    from clients.bases import assemble, choose_device
    from clients.model_args import feature_dim

    if TASKS[cast(Kind, kind)].labelled and len(labels) < 2:
        raise DataError(f"there is only one class ({', '.join(labels)}); nothing to learn")
    model = assemble(
        base.folder,
        kind=cast(Kind, kind),
        labels=labels,
        base=base.fingerprint,
        adapter=settings.adapter,
        adapter_args=dict(settings.adapter_args),
        seed=settings.seed,
        device=choose_device(settings.device),
        feature_dim=feature_dim(settings.model_options),
        loading=Loading.of(settings.model_options),
    )
    if settings.task_args.get("packing"):
        from clients.language.packing import require_packing

        require_packing(model)
    return model


def make_plan(
    settings: Settings,
    kind: str,
    labels: tuple[str, ...],
    base: Base,
    schema: Schema,
    others: tuple[Base, ...] = (),
) -> Plan:
    """Write the plan that nodes are given."""
    return Plan(
        data=data_spec(settings),
        kind=cast(Kind, kind),
        labels=labels,
        model=settings.model,
        model_args=_pairs(settings.model_options),
        base=base.fingerprint,
        variants=tuple((other.model, other.fingerprint) for other in others),
        adapter=settings.adapter,
        adapter_args=_pairs(settings.adapter_args),
        schema=schema.to_json(),
        recipe=recipe(settings),
        objective=settings.objective or registry().objective_of(settings.methods),
        objective_args=_pairs(settings.objective_args),
        seed=settings.seed,
        device=settings.device,
        threads=settings.threads,
        personalise_epochs=settings.personalise_epochs,
        task_args=_pairs(settings.task_args),
    )


def plan_alone(
    settings: Settings, state: Path, sites: dict[str, str]
) -> tuple[Plan, tuple[str, ...], AdaptedModel]:
    """Make the plan on the node itself, for a server that does not send one.

    Returns
    -------
    Plan
    tuple of str
        All clients of the data set, or the node's own.
    AdaptedModel
        What the plan was made from, so that the node need not load it again.
    """
    spec = data_spec(settings)
    if sites:
        own = [load_site(spec, path, client) for client, path in sites.items()]
        kind = own[0].train.columns.kind
        names = {n for data in own for part in (data.train, data.test) for n in part.label_counts()}
        labels, clients = tuple(order_labels(names)), tuple(sites)
        groups = groups_of(part for data in own for part in (data.train, data.test))
    else:
        federation = load_federation(spec)
        kind = federation.columns.kind
        labels, clients = federation.label_names, federation.client_ids
        groups = groups_of([federation.pooled().train])
    settings = with_groups(settings, groups)
    labels = settings.labels or labels
    base = find_base(settings, kind, state / "bases", bool(sites))
    model = build(settings, kind, labels, base)
    return make_plan(settings, kind, labels, base, model.schema), clients, model
