"""The roster: client id -> node, with what the client said of itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key that puts ``client-2`` before ``client-10``."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts)


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
    """

    id: str
    node: int
    examples: int | None = None
    test_examples: int | None = None
    label_counts: Mapping[str, int] | None = None
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    concept: int | None = None


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
    """Clients in natural order of their ids, and the nodes that host them."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}
        self._nodes: dict[int, Node] = {}
        self._absent: set[str] = set()
        self._virtual: dict[str, Client] = {}

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

    @property
    def reachable(self) -> tuple[str, ...]:
        """Clients whose node is connected now."""
        return tuple(c for c in self._clients if c not in self._absent)

    @property
    def nodes(self) -> Mapping[int, Node]:
        """Connected nodes by Flower's id."""
        return self._nodes

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
        for client in clients:
            self._clients[client.id] = client
            self._absent.discard(client.id)
        self._clients = {k: self._clients[k] for k in sorted(self._clients, key=natural_key)}

    def leave(self, node_id: int) -> None:
        """Mark a node's clients as unreachable."""
        self._nodes.pop(node_id, None)
        self._absent.update(c.id for c in self if c.node == node_id)
