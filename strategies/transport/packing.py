"""Packs: how many clients share a message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from strategies.transport.roster import Node, Roster


@dataclass(frozen=True)
class Pack:
    """Clients of one node that travel in one message."""

    node: Node
    clients: tuple[str, ...]


def plan_packs(
    roster: Roster, clients: Sequence[str], client_bytes: int, pack_bytes: int
) -> dict[int, list[Pack]]:
    """Split a cohort into packs, for each node in client order.

    Parameters
    ----------
    roster : Roster
    clients : sequence of str
        In roster order.
    client_bytes : int
        Largest payload of a client.
    pack_bytes : int
        Most a pack may hold; a larger payload travels alone.

    Returns
    -------
    dict
        By node id. Where a process stays between messages, a node's clients make at least two
        packs a worker, so that no worker waits for a message; where each message starts a process,
        they make as few as `pack_bytes` allows.
    """
    by_node: dict[int, list[str]] = {}
    for client in clients:
        by_node.setdefault(roster[client].node, []).append(client)
    most = max(1, pack_bytes // max(1, client_bytes))
    packs: dict[int, list[Pack]] = {}
    for node_id, members in by_node.items():
        node = roster.nodes[node_id]
        parts = -(-len(members) // most)
        if node.persistent:
            parts = max(parts, min(len(members), 2 * node.workers))
        size, larger = divmod(len(members), parts)
        start = 0
        packs[node_id] = []
        for part in range(parts):
            end = start + size + (part < larger)
            packs[node_id].append(Pack(node, tuple(members[start:end])))
            start = end
    return packs
