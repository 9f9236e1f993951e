"""Packs on a node: the session a process keeps, and what each client answers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.node import (
    NodeConfig,
    cpus_given,
    own_model,
    own_share,
    own_site,
    own_state,
    plan_file,
    shares_labels,
    shares_personal,
)
from clients.task import Task
from models.errors import BouquetError, ClientError, DataError, one_line
from models.messages import CLASSES, COLLECT, PackHeader
from models.results import ClientResult

if TYPE_CHECKING:
    from clients.plan import Plan
    from clients.session import Session
    from models.adapted import AdaptedModel

_sessions: dict[tuple[str, Path], Session] = {}
# Making a plan on the node builds the model: once a process and configuration, not a message.
_plans: dict[str, tuple[Plan, tuple[str, ...]]] = {}


def session_for(node: NodeConfig, told: str, plan_hash: str) -> Session:
    """Return this process's session of a plan, building it at first use.

    Raises
    ------
    ClientError
        ``unprepared`` where the plan is not here.
    """
    state = own_state(node, told)
    if (plan_hash, state) not in _sessions:
        from clients.plan import Plan

        file = plan_file(state, plan_hash)
        if len(plan_hash) != 16 or not plan_hash.isalnum() or not file.is_file():
            raise ClientError("unprepared", "the node does not have this plan")
        open_session(Plan.from_json(file.read_text()), node, state)
    return _sessions[plan_hash, state]


def open_session(
    plan: Plan, node: NodeConfig, state: Path, loaded: AdaptedModel | None = None
) -> Session:
    """Build the session of a plan, maybe over a model loaded already, and let go of any other."""
    cpus = cpus_given()
    if cpus:
        os.environ["OMP_NUM_THREADS"] = str(cpus)
    import torch

    from app.registry import registry
    from clients.session import Session

    if not plan.threads and cpus:
        torch.set_num_threads(cpus)
    registry().install_client_halves()
    _sessions.clear()
    session = Session(plan, state, own_site(node), own_model(node), loaded)
    _sessions[plan.hash, state] = session
    return session


def run_pack(
    node: NodeConfig, told: str, pack: PackHeader, action: str, *, share_text: bool
) -> list[ClientResult]:
    """Run one action for each client of a pack; a client that fails costs only its own entry."""
    try:
        session = session_for(node, told, pack.plan)
        session.take_changes(pack.run, pack.changes)
        request = pack.open(session.schemas)
    except BouquetError as error:
        lost = failure(error, share_text)
        return [ClientResult(client, error=lost) for client in pack.clients]
    results = []
    for index, client in enumerate(request.clients):
        arrays, options = request.of(index)
        try:
            task = Task(
                client,
                arrays,
                request.server_round,
                options,
                request.run,
                request.base_version,
            )
            if task.options.get(COLLECT) and not shares_personal(node):
                raise ClientError("private", "this node keeps personal adapters to itself")
            done = run_client(session, task, action)
            if not shares_labels(node):
                done = replace(done, notes={k: v for k, v in done.notes.items() if k != CLASSES})
        except Exception as error:  # one client's failure is its own
            done = ClientResult(client, error=failure(error, share_text))
        results.append(done)
    return results


def failure(error: Exception, share_text: bool) -> tuple[str, str]:
    """Return code and detail of what went wrong; a stranger's words stay here unless shared."""
    if isinstance(error, ClientError):
        return error.code_name, one_line(error.detail)
    own = isinstance(error, BouquetError)
    text = f"{type(error).__name__}: {error}" if own or share_text else type(error).__name__
    return "client-app", one_line(text)


def run_client(session: Session, task: Task, action: str) -> ClientResult:
    """Train or evaluate one client."""
    if action == "train":
        done = session.train(task)
        examples = session.part(task.client, "train", task.server_round).examples
        return ClientResult(task.client, examples, done.metrics, done.notes, done.arrays)
    found = session.evaluate(task)
    return ClientResult(task.client, found.examples, found.metrics, found.notes)


def plain_session(node: NodeConfig, run_config: Mapping[str, object]) -> tuple[Session, str]:
    """Return the session of a run without our server half, and this node's one client.

    Raises
    ------
    DataError
        The node has several clients, so a message without a client list says too little.
    """
    from app.registry import registry
    from app.server.planning import plan_alone
    from app.settings import parse_run_config

    state = own_state(node, str(run_config.get("state-dir", "")))
    key = repr((sorted(run_config.items()), state, sorted(own_site(node).items())))
    if key not in _plans:
        settings = parse_run_config(run_config, registry())
        fresh, everybody, loaded = plan_alone(settings, state, own_site(node))
        _plans[key] = fresh, everybody
        open_session(fresh, node, state, loaded)
    plan, clients = _plans[key]
    if not own_site(node):
        clients = tuple(own_share(clients, node))
    if len(clients) != 1:
        raise DataError(
            f"this node has {len(clients)} clients, and the message names none; start one node a "
            "client, or let the server address clients through a ClientGrid"
        )
    session = _sessions.get((plan.hash, state)) or open_session(plan, node, state)
    return session, clients[0]
