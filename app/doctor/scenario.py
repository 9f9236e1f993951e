"""A run's settings, data and base as this machine sees them; or a node's own answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.doctor.finding import Finding
from app.node import greet
from app.node_keys import IN_SIMULATION, NODE_KEYS
from app.server.planning import data_spec, find_bases
from app.settings import Settings
from clients.data import load_federation
from models.errors import BouquetError, nearest
from models.files import state_folder


def check_data(settings: Settings) -> Iterator[Finding]:
    """Divide the data set, and find the base: what a simulation would do first."""
    try:
        federation = load_federation(data_spec(settings))
        first = federation.client(federation.client_ids[0])
    except BouquetError as error:
        yield Finding("problem", "data", str(error), "mend the data, or the setting it names")
        return
    columns = first.train.columns
    named = f"{columns.kind} column '{columns.input}', label column '{columns.label}'"
    clients = len(federation.client_ids)
    found = f"{clients} clients, {len(federation.label_names)} labels; {named}"
    yield Finding("good", "data", found)
    try:
        bases = state_folder(settings.state_dir) / "bases"
        base, others = find_bases(settings, columns.kind, bases, own_data=False)
    except BouquetError as error:
        yield Finding("problem", "base", str(error), "mend the setting model")
        return
    for one in (base, *others):
        yield Finding("good", "base", f"{one.model}: fingerprint {one.fingerprint}")


def check_node(settings: Settings, node: Mapping[str, object]) -> Iterator[Finding]:
    """Say what this machine would answer as a node, before any SuperNode is started.

    Parameters
    ----------
    settings : Settings
        Of the run that it would take part in.
    node : mapping
        What ``flower-supernode --node-config`` would be given.
    """
    for key in node.keys() - NODE_KEYS.keys() - IN_SIMULATION:
        found = f"'{key}' is nothing that a node can say; {nearest(key, NODE_KEYS)}"
        yield Finding("warning", "node", found, "correct it in --node-config; it does nothing")
    told = {
        "data": data_spec(settings).to_json(),
        "model": settings.model,
        "state-dir": str(state_folder(settings.state_dir)),
    }
    answer = greet(node, told)
    if "error" in answer:
        yield Finding("problem", "node", str(answer["error"]), "mend it, then ask again")
        return
    cards = answer["clients"]
    for card in cards if isinstance(cards, list) else ():
        found = (
            f"{card['client']}: {card['examples']} rows to train, {card['test_examples']} to test"
        )
        yield Finding("good", "node", found)
    base = answer["base"] or "not here; a run sends it if ship-model allows it"
    yield Finding(
        "good", "base", f"{settings.model}: fingerprint {base}; compare with the server's"
    )
    yield Finding("good", "code", f"{answer['code']}; every node and the server must say the same")
