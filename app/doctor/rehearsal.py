"""A rehearsal: the nodes are greeted and prepared as for a run, and what they said is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from app.doctor.connection import MOST_SECONDS_APART
from app.doctor.finding import Finding
from app.server.federation import Federation
from models.files import write_json

FILE = "rehearsal.json"


def write_rehearsal(folder: Path, federation: Federation) -> None:
    """Write what every node said of itself, and who cannot take part."""
    nodes = [
        {
            "clients": [client.id for client in greeting.clients],
            "examples": sum(client.examples or 0 for client in greeting.clients),
            "base": greeting.base,
            "versions": dict(greeting.versions),
            "seconds_apart": greeting.seconds_apart,
            "free_bytes": greeting.free_bytes,
            "takes_part": any(c.id in federation.roster.reachable for c in greeting.clients),
        }
        for greeting in federation.greetings
    ]
    base = {"model": federation.base.model, "fingerprint": federation.base.fingerprint}
    value = {"base": base, "nodes": nodes, "refused": dict(federation.refused)}
    write_json(folder / FILE, value)


def read_rehearsal(folder: Path) -> Iterator[Finding]:
    """Say what came of a rehearsal, node by node."""
    try:
        told = json.loads((folder / FILE).read_text("utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        yield Finding(
            "problem",
            "federation",
            f"no {FILE} in {folder}: the run ended before the nodes were prepared",
            "read its status.json; if the SuperLink is on another machine, look there",
        )
        return
    common: dict[str, set[str]] = {}
    for node in told["nodes"]:
        for package, version in node["versions"].items():
            common.setdefault(package, set()).add(str(version))
        yield from _node(node)
    for package, versions in common.items():
        if len(versions) > 1:
            found = f"nodes have {package} {', '.join(sorted(versions))}"
            remedy = "install the versions of constraints.txt everywhere"
            yield Finding("warning", "versions", found, remedy)
    for who, why in told["refused"].items():
        # A node that could not even name its clients is known by its number.
        about = who if who.startswith("node ") else f"node of {who}"
        yield Finding("problem", about, why, "mend it there; the reason says how")


def _node(node: dict[str, object]) -> Iterator[Finding]:
    clients = node["clients"]
    names = clients if isinstance(clients, list) else []
    about = f"node of {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    if node["takes_part"]:
        yield Finding("good", about, f"{node['examples']} rows; takes part")
    apart, free = node["seconds_apart"], node["free_bytes"]
    if isinstance(apart, int | float) and abs(apart) > MOST_SECONDS_APART:
        found = f"its clock is {abs(apart):.0f} s {'ahead' if apart > 0 else 'behind'}"
        yield Finding("problem", about, found, "keep all machines' clocks right (NTP, chrony)")
    if isinstance(free, int) and free < 1 << 30:
        found = f"{free / 1e9:.1f} GB free in its state folder"
        yield Finding("warning", about, found, "free some space there, or set its state-dir")
