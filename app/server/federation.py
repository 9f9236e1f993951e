"""Opening a federation: greet the nodes, find the base, give out the plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flwr.serverapp import Grid

from app.places import code_hash
from app.registry import registry
from app.server.headless import head_alone, needs_model
from app.server.planning import NO_BASE, Base, build, data_spec, find_bases, make_plan
from app.server.samples import Sampling, sampling
from app.settings import Settings
from app.settings.groups import check_groups, with_groups
from app.settings.ranks import assigned_ranks
from clients.data import (
    DataSpec,
    Drift,
    Examples,
    load_federation,
    load_server_test,
    make_drift,
    order_labels,
)
from clients.data.drift import NO_DRIFT
from clients.evaluation import evaluate
from clients.grouping import Grouping
from clients.holdings import prepare
from clients.plan import Plan
from clients.preparation import Preparation as InputPreparation
from clients.preparation import make_preparation
from clients.training import Prepared
from models.adapted import AdaptedModel
from models.checkpoint import pack_checkpoint
from models.errors import ConfigurationError, DataError
from models.files import state_folder
from models.schema import NamedArrays, Schema
from strategies.base import Strategy
from strategies.pooled import POOLED_CLIENT
from strategies.transport.client_grid import ClientGrid
from strategies.transport.greeting import Greeting
from strategies.transport.hello import Registrar
from strategies.transport.preparation import OtherBase, Preparation
from strategies.transport.roster import Client, Roster
from strategies.transport.screening import NormRule


@dataclass(frozen=True)
class Federation:
    """An open federation, ready for a strategy.

    Attributes
    ----------
    grid : ClientGrid
        Every client a node.
    plan : Plan
    base : Base
        The run's own; clients may have others (`Client.variant`).
    model : AdaptedModel or None
        The server's copy; None where the run needs none (`app.server.headless`).
    initial : NamedArrays
        The first adapter, or a head alone in its place.
    test : Prepared or None
        The server's test set.
    refused : mapping
        Who cannot take part, and why.
    drift : Drift or None
        How the clients' data change over the rounds.
    sampling : Sampling or None
        What the model is to continue for the report.
    greetings : tuple of Greeting
        What the nodes said of themselves at the start.
    others : tuple of Base
        Bases of the settings that some clients have instead.
    """

    grid: ClientGrid
    plan: Plan
    base: Base
    model: AdaptedModel | None
    initial: NamedArrays
    test: Prepared | None
    refused: Mapping[str, str]
    drift: Drift | None = None
    sampling: Sampling | None = None
    greetings: tuple[Greeting, ...] = ()
    others: tuple[Base, ...] = ()
    _built: dict[str, AdaptedModel] = field(default_factory=dict)

    @property
    def roster(self) -> Roster:
        """The clients known now."""
        return self.grid.roster

    @property
    def own_data(self) -> bool:
        """Whether nodes hold data of their own, so that the setting `dataset` says nothing."""
        return self.roster.own_data

    def evaluate(
        self, arrays: NamedArrays, strategy: Strategy | None = None, run: str = ""
    ) -> dict[str, float]:
        """Return loss, accuracy and macro-F1 on the server's test set; empty without one.

        Parameters
        ----------
        arrays : NamedArrays
            Of the model's schema.
        strategy : Strategy, optional
            One that may have changed the base.
        run : str
            Whose changes of the base they are.
        """
        if self.test is None or self.model is None:
            return {}
        if strategy is not None and strategy.changes is not None:
            self.model.base.put_to(run, strategy.base_version, strategy.changes)
        return evaluate(self.model, self.test, arrays.vector).metrics

    def built(self, settings: Settings, variant: str) -> tuple[Base, AdaptedModel] | None:
        """Return a base and its model with the first adapter; None where only nodes have them.

        Parameters
        ----------
        settings : Settings
        variant : str
            As the roster names it; empty for the run's own.
        """
        if not variant:
            return None if self.model is None else (self.base, self.model)
        base = next((other for other in self.others if other.model == variant), None)
        if base is None:
            return None
        if variant not in self._built:
            self._built[variant] = build(settings, self.plan.kind, self.plan.labels, base)
        return base, self._built[variant]

    def schemas(self, settings: Settings) -> dict[str, Schema]:
        """Return the schema of each client's whole adapter, where its base is known here."""
        known = {client.id: self.built(settings, client.variant) for client in self.roster}
        return {client: found[1].schema for client, found in known.items() if found is not None}

    def add_pooled_client(self) -> None:
        """Make all data reachable as one client, for the baseline that pools them.

        Raises
        ------
        ConfigurationError
            On real nodes, where nothing but adapters is shared.
        """
        able = [node for node in self.roster.nodes.values() if node.pools]
        if not able:
            raise ConfigurationError(
                "baselines = 'global': only in simulation; on real nodes no machine has all data"
            )
        examples = sum(client.examples or 0 for client in self.roster)
        tests = sum(client.test_examples or 0 for client in self.roster)
        self.roster.add_virtual(Client(POOLED_CLIENT, able[0].id, examples, tests))


def open_federation(grid: Grid, settings: Settings) -> Federation:
    """Greet the nodes and prepare them.

    Parameters
    ----------
    grid : Grid
        Flower's own.
    settings : Settings

    Raises
    ------
    ParticipationError
        Too few clients in time.
    DataError, ModelError, ConfigurationError
        What nodes or server cannot use; says which and why.
    """
    state = state_folder(settings.state_dir)
    bases = state / "bases"
    spec = data_spec(settings)
    plugins = registry().packages_for(settings.methods, settings.objective)
    told = {
        "data": spec.to_json(),
        "model": settings.model,
        "state-dir": str(state),
        "plugins": json.dumps(plugins),
    }
    registrar = Registrar(
        grid, told, code_hash(), timeout=settings.node_wait_timeout, plugins=plugins
    )
    registrar.gather(max(settings.quorum, settings.clients_per_round, 1))
    kind = _one_kind(registrar.kinds)
    own_data = registrar.roster.own_data
    check_groups(settings, registrar.roster.groups)
    test = _server_test(settings, own_data)
    seen = {*registrar.label_names, *(test.label_counts() if test is not None else ())}
    labels = settings.labels or tuple(order_labels(seen))
    drift = _drift(spec, labels, kind, own_data)
    settings = with_groups(settings, registrar.roster.groups)
    strategy = registry().compose(settings.methods, settings.method_options)
    if needs_model(settings, strategy, registrar.roster):
        base, others = find_bases(settings, kind, bases, own_data)
        model: AdaptedModel | None = build(settings, kind, labels, base)
    else:
        base, others, model = NO_BASE, (), None
    initial = model.arrays() if model is not None else head_alone(settings, len(labels))
    plan = make_plan(settings, kind, labels, base, initial.schema, others)
    registrar.prepare(
        Preparation(
            plan.to_json(),
            plan.hash,
            base.fingerprint,
            _shipping(settings, base),
            {o.model: OtherBase(o.fingerprint, _shipping(settings, o)) for o in others},
            strategy.takes_models,
        )
    )
    registrar.roster.assign_variants(plan.variants, plan.base)
    preparation = None
    if model is not None:
        options = dict(plan.model_args), dict(plan.task_args)
        preparation = make_preparation(base.folder, plan.kind, *options)
    ranks = assigned_ranks(settings.rank_args, registrar.roster.ids, settings.seed)
    registrar.roster.assign_ranks(ranks)
    return Federation(
        grid=ClientGrid(
            grid,
            registrar,
            initial.schema,
            pack_bytes=settings.pack_bytes,
            wire=settings.wire_dtype,
            norm_rule=NormRule(settings.norm_policy, settings.norm_factor),
        ),
        plan=plan,
        base=base,
        model=model,
        initial=initial,
        test=_prepared_test(test, plan, preparation),
        sampling=None if preparation is None else sampling(preparation, test, settings.seed),
        refused=registrar.refused,
        drift=drift,
        greetings=tuple(registrar.greetings.values()),
        others=others,
    )


def _shipping(settings: Settings, base: Base) -> Callable[[], bytes] | None:
    return (lambda: pack_checkpoint(base.folder)) if settings.ships(base.model) else None


def _drift(spec: DataSpec, labels: tuple[str, ...], kind: str, own_data: bool) -> Drift | None:
    """Return the drift as the clients meet it; a divided data set says who they all are."""
    divided = spec.drift != NO_DRIFT and not own_data
    everybody = load_federation(spec).client_ids if divided else ()
    return make_drift(spec, labels, kind, everybody)


def _prepared_test(
    test: Examples | None, plan: Plan, preparation: InputPreparation | None
) -> Prepared | None:
    if test is None or preparation is None:
        return None
    prepared = prepare(test, plan.labels, preparation)
    grouping = Grouping.of(plan)
    return grouping.add_to(prepared) if grouping else prepared


def _one_kind(kinds: frozenset[str]) -> str:
    if len(kinds) != 1:
        raise DataError(f"the clients' data are of different kinds: {', '.join(sorted(kinds))}")
    return next(iter(kinds))


def _server_test(settings: Settings, own_data: bool) -> Examples | None:
    """Return the server's test set; beside nodes with data of their own, only what it was given."""
    if own_data and not settings.server_data_path:
        return None
    return load_server_test(data_spec(settings))
