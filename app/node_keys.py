"""What ``flower-supernode --node-config`` may say of a site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class NodeKey:
    """One key of a node's configuration.

    Attributes
    ----------
    default : str
        In words.
    help : str
        One line.
    """

    default: str
    help: str


NODE_KEYS: Mapping[str, NodeKey] = {
    "data-path": NodeKey("required", "Absolute path of the site's file or folder."),
    "client-id": NodeKey("name of the data's folder", "Stable name of the site."),
    "state-dir": NodeKey("`$BOUQUET_HOME`, else `~/.bouquet`", "Folder of what the site keeps."),
    "model": NodeKey("the run's", "The site's own base model."),
    "rank": NodeKey("the adapter's", "The LoRA rank that the site can afford."),
    "share-label-counts": NodeKey("false", "Tell the server how many examples each label has."),
    "share-personal": NodeKey("false", "Give the server the adapter that the site uses."),
    "share-error-text": NodeKey("false", "Let the text of unexpected exceptions leave the site."),
}
IN_SIMULATION = frozenset({"partition-id", "num-partitions"})
"""What Flower says of a simulated node."""
