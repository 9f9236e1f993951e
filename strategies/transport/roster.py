"""The roster: client id -> node, with what the client said of itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

NOWHERE = -1
"""Node of a client that an earlier part of the run knew and that is not connected."""


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key that puts ``client-2`` before ``client-10``."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts)


class _OfClient(Protocol):
    @property
    def client(self) -> str: ...


Named = TypeVar("Named", bound=_OfClient)


@dataclass(frozen=True)
class Client:
    """One holder of data.

    Attributes
    ----------
    id : str
        Stable id.
    node : int
        Flower's node id; random in every run, so nothing is keyed by it.
    examples, test_examples : int
        Declared sizes of its train and test part; None where it did not say.
    label_counts : mapping or None
        Train examples a label; None where the site does not share them.
    groups : mapping
        Values present, by group column.
    concept : int or None
        Number of its concept where the scenario shifts concepts.
    rank : int or None
        The adapter's rank that it can afford; None where it did not say.
    variant : str
        The base model that it has instead of the run's; empty where it has that one.
    """

    id: str
    node: int
    examples: int | None = None
    test_examples: int | None = None
    label_counts: Mapping[str, int] | None = None
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    concept: int | None = None
    rank: int | None = None
    variant: str = ""


@dataclass(frozen=True)
class Node:
    """One SuperNode.

    Attributes
    ----------
    id : int
        Flower's node id.
    stream : str
        Stable key: the first of its clients' ids.
    workers : int
        Messages it can work on at once.
    persistent : bool
        Whether a process stays between messages (simulation) or each message starts one.
    pools : bool
        Whether it can reach every client's data (simulation).
    """

    id: int
    stream: str
    workers: int = 1
    persistent: bool = False
    pools: bool = False


class Roster:
    """Clients in natural order of their ids, and the nodes that host them.

    Attributes
    ----------
    version : int
        Grows when clients come, go, or cannot be reached.
    """

    def __init__(self) -> None:
        self.version = 0
        self._clients: dict[str, Client] = {}
        self._nodes: dict[int, Node] = {}
        # By client that is not reachable, the first round in which that was noticed.
        self._absent: dict[str, int | None] = {}
        self._virtual: dict[str, Client] = {}
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[Client]:
        return iter(self._clients.values())

    def __contains__(self, client: object) -> bool:
        return client in self._clients

    def __getitem__(self, client: str) -> Client:
        found = self._clients.get(client)
        return self._virtual[client] if found is None else found

    @property
    def ids(self) -> tuple[str, ...]:
        """All clients ever seen; unreachable is not gone."""
        return tuple(self._clients)

    def in_order(self, items: Iterable[Named]) -> list[Named]:
        """Return what clients said in roster order, so that arrival order never shows."""
        place = self.places
        return sorted(items, key=lambda item: place.get(item.client, -1))

    @property
    def places(self) -> Mapping[str, int]:
        """Each client's place in roster order."""
        if not self._places:
            self._places = {client: i for i, client in enumerate(self._clients)}
        return self._places

    @property
    def reachable(self) -> tuple[str, ...]:
        """Clients whose node is connected now."""
        return tuple(c for c in self._clients if c not in self._absent)

    @property
    def nodes(self) -> Mapping[int, Node]:
        """Connected nodes by Flower's id."""
        return self._nodes

    @property
    def groups(self) -> dict[str, set[str]]:
        """The values that clients have, by group column."""
        found: dict[str, set[str]] = {}
        for client in self:
            for column, values in client.groups.items():
                found.setdefault(column, set()).update(values)
        return found

    @property
    def own_data(self) -> bool:
        """Whether some connected node holds data of its own, not a share of a divided set."""
        return not all(node.pools for node in self._nodes.values())

    def is_reachable(self, client: str) -> bool:
        """Whether a client, real or virtual, can be asked now."""
        return (client in self._clients or client in self._virtual) and (
            client not in self._absent and self[client].node in self._nodes
        )

    def add_virtual(self, client: Client) -> None:
        """Add a client that can be asked but is nobody: not sampled, not evaluated."""
        self._virtual[client.id] = client

    def join(self, node: Node, clients: Iterable[Client]) -> None:
        """Add a node's clients; one that returns on another node moves there."""
        self._nodes[node.id] = node
        self.version += 1
        for client in clients:
            known = self._clients.get(client.id)
            if known is not None and node.pools:  # given out by the server, not said by the node
                client = replace(client, variant=known.variant)
            self._clients[client.id] = client
            self._absent.pop(client.id, None)
        self._clients = {k: self._clients[k] for k in sorted(self._clients, key=natural_key)}
        self._places = {}

    def assign_ranks(self, ranks: Mapping[str, int]) -> None:
        """Set the rank of clients that did not say which they can afford."""
        for client, rank in ranks.items():
            if self._clients[client].rank is None:
                self._clients[client] = replace(self._clients[client], rank=rank)

    def same_model(self, node_id: int) -> None:
        """Note that a node's own model turned out to be the run's."""
        for client in [c for c in self if c.node == node_id and c.variant]:
            self._clients[client.id] = replace(client, variant="")

    def assign_variants(self, variants: Sequence[tuple[str, str]], base: str) -> None:
        """Give base models in turn, in roster order, to the clients of a divided data set.

        A node with data of its own says itself which model it has.

        Parameters
        ----------
        variants : sequence of (str, str)
            Name and fingerprint of each.
        base : str
            Fingerprint of the run's own; a variant that is the same one is none.
        """
        for number, client in enumerate(list(self._clients.values()) if variants else []):
            name, found = variants[number % len(variants)]
            node = self._nodes.get(client.node)
            if node is not None and node.pools:
                variant = name if found != base else ""
                self._clients[client.id] = replace(client, variant=variant)

    def leave(self, node_id: int) -> None:
        """Mark a node's clients as unreachable."""
        self._nodes.pop(node_id, None)
        self.version += 1
        self._absent.update((c.id, None) for c in self if c.node == node_id)

    def forget_absent(self, server_round: int, after: int) -> tuple[str, ...]:
        """Drop clients that have been away for so many rounds; 0 drops nobody.

        Returns
        -------
        tuple of str
            Who was dropped, in roster order.
        """
        for client, since in self._absent.items():
            if since is None:
                self._absent[client] = server_round
        gone = tuple(
            client
            for client in self._clients
            if after and server_round - (self._absent.get(client) or server_round) >= after
        )
        for client in gone:
            del self._clients[client], self._absent[client]
        self._places = {} if gone else self._places
        self.version += bool(gone)
        return gone

    def to_dicts(self) -> list[dict[str, object]]:
        """Return what a resumed run must know of all clients; JSON values."""
        return [
            {
                "id": client.id,
                "examples": client.examples,
                "test_examples": client.test_examples,
                "label_counts": dict(client.label_counts) if client.label_counts else None,
                "groups": {k: list(v) for k, v in client.groups.items()},
                "concept": client.concept,
                "rank": client.rank,
                "variant": client.variant,
                "absent": self._absent.get(client.id),
            }
            for client in self
        ]

    def recall(self, known: Iterable[Mapping[str, Any]]) -> None:
        """Add the clients of `to_dicts` that have not come back, as unreachable ones."""
        self.version += 1
        for item in known:
            values = dict(item)
            since = values.pop("absent")
            if values["id"] in self._clients:
                continue
            values["groups"] = {k: tuple(v) for k, v in values["groups"].items()}
            self._clients[values["id"]] = Client(node=NOWHERE, **values)
            self._absent[values["id"]] = since
        self._clients = {k: self._clients[k] for k in sorted(self._clients, key=natural_key)}
        self._places = {}
