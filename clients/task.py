"""What a message asks of one client; light, so that a node can read it before torch is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from models.messages import NO_RUN, RunIdentity
from models.schema import NamedArrays


@dataclass(frozen=True)
class Task:
    """What a message asks of one client.

    Attributes
    ----------
    client : str
    start : NamedArrays
    server_round : int
    options : mapping
        Of the two client halves, and what overrides the recipe.
    run : RunIdentity
        Whose personal state it is.
    base_version : int
        Of the frozen base; 0 = as it was loaded.
    """

    client: str
    start: NamedArrays
    server_round: int
    options: Mapping[str, object] = field(default_factory=dict)
    run: RunIdentity = NO_RUN
    base_version: int = 0
