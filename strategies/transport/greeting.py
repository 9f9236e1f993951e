"""What a node answers to *hello*: its clients and what it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from strategies.transport.roster import Client, Node, natural_key


@dataclass(frozen=True)
class Greeting:
    """What a node answered to *hello*.

    Attributes
    ----------
    seconds_apart : float or None
        How far its clock is ahead of ours, less the seconds that its answer was under way.
    free_bytes : int or None
        On the disk of its state folder.
    """

    node: Node
    clients: tuple[Client, ...]
    kind: str
    labels: tuple[str, ...]
    base: str | None
    shipped: tuple[str, ...]
    code: str
    versions: Mapping[str, str]
    variant: str = ""
    plugins: Mapping[str, str] = field(default_factory=dict)
    broken_plugins: Mapping[str, str] = field(default_factory=dict)
    seconds_apart: float | None = None
    free_bytes: int | None = None

    def lacks(self, plugins: Mapping[str, str]) -> str:
        """Say which of the packages that bring a run's methods are not as needed; empty if none.

        Parameters
        ----------
        plugins : mapping
            Versions on the server, by package.
        """
        for package, version in plugins.items():
            here = self.plugins.get(package)
            if here is None:
                return (
                    f"it lacks the package '{package}', which brings a method of this run; "
                    f"install it there, as on the server: pip install {package}=={version}"
                )
            if here != version:
                return f"it has {package} {here}, the server {version}; install the same there"
            if package in self.broken_plugins:
                return self.broken_plugins[package]
        return ""


def read_greeting(node_id: int, answer: Mapping[str, object]) -> Greeting:
    """Read a node's answer.

    Raises
    ------
    KeyError, TypeError, ValueError
        It is not what a node answers.
    """
    cards = answer["clients"]
    if not isinstance(cards, list) or not cards:
        raise ValueError("a node without clients")
    clients = tuple(_read_client(node_id, dict(card)) for card in cards)
    first = min((c.id for c in clients), key=natural_key)
    labels = {label for card in cards for label in card.get("labels") or ()}
    workers = answer.get("workers", 1)
    base = answer.get("base")
    shipped = answer.get("shipped", [])
    versions = answer.get("versions", {})
    told, free = answer.get("seconds"), answer.get("free-bytes")
    return Greeting(
        node=Node(
            node_id,
            first,
            workers if isinstance(workers, int) else 1,
            bool(answer.get("persistent")),
            bool(answer.get("pools")),
        ),
        clients=clients,
        kind=str(cards[0]["kind"]),
        labels=tuple(sorted(labels, key=natural_key)),
        base=str(base) if base else None,
        shipped=tuple(shipped) if isinstance(shipped, list) else (),
        code=str(answer["code"]),
        versions=dict(versions) if isinstance(versions, dict) else {},
        variant=clients[0].variant,
        plugins=_texts(answer.get("plugins")),
        broken_plugins=_texts(answer.get("broken-plugins")),
        seconds_apart=told - time.time() if isinstance(told, int | float) else None,
        free_bytes=free if isinstance(free, int) else None,
    )


def _texts(found: object) -> dict[str, str]:
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _read_client(node_id: int, card: Mapping[str, object]) -> Client:
    counts = card.get("label_counts")
    groups = card.get("groups")
    concept = card.get("concept")
    rank = card.get("rank")
    return Client(
        id=str(card["client"]),
        node=node_id,
        examples=int(str(card["examples"])),
        test_examples=int(str(card["test_examples"])),
        label_counts=dict(counts) if isinstance(counts, dict) else None,
        groups={k: tuple(v) for k, v in groups.items()} if isinstance(groups, dict) else {},
        concept=int(concept) if isinstance(concept, int) else None,
        rank=rank if isinstance(rank, int) and rank > 0 else None,
        variant=str(card.get("variant") or ""),
    )
