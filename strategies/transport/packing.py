"""Packs: how many clients share a message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from strategies.transport.roster import Node, Roster

PACKS_A_WORKER = 4
"""Least number of packs for each worker that persists: fewer leave workers idle at a round's end,
more cost messages."""


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
        By node id. Where a process stays between messages, a node's clients make several packs a
        worker, so that no worker waits for a message and none is left with a long last one; where
        each message starts a process, they make as few as `pack_bytes` allows.
    """
    by_node: dict[int, list[str]] = {}
    for client in clients:
        by_node.setdefault(roster[client].node, []).append(client)
    most = max(1, pack_bytes // max(1, client_bytes))
    packs: dict[int, list[Pack]] = {}
    for node_id, members in by_node.items():
        node = roster.nodes[node_id]
        start = 0
        packs[node_id] = []
        for size in _sizes(len(members), PACKS_A_WORKER * node.workers, node.persistent, most):
            packs[node_id].append(Pack(node, tuple(members[start : start + size])))
            start += size
    return packs


def _sizes(count: int, parts: int, persistent: bool, most: int) -> list[int]:
    """Cut a number of clients into pack sizes; falling, so that the last ones are short."""
    if not persistent:
        parts = -(-count // most)
        return [count // parts + (part < count % parts) for part in range(parts)]
    sizes: list[int] = []
    left = count
    for share in range(parts, 0, -1):
        # Shares of parts : parts-1 : ... : 1 of what is left; never more than a pack may hold.
        wanted = -(-2 * left // (share + 1))
        while wanted > 0:
            sizes.append(min(wanted, most))
            wanted -= sizes[-1]
        left = count - sum(sizes)
    return sizes
