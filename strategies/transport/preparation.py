"""What a node must have before it can train: the plan, and the bases of its clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from strategies.transport.greeting import Greeting


@dataclass(frozen=True)
class OtherBase:
    """A base that some clients have instead of the run's own.

    Attributes
    ----------
    fingerprint : str
    ship : callable or None
        As in `Preparation`.
    """

    fingerprint: str
    ship: Callable[[], bytes] | None = None


@dataclass(frozen=True)
class Preparation:
    """What a node needs before it can train.

    Attributes
    ----------
    plan : str
        JSON; holds the schema, the labels and how to train.
    plan_hash : str
    base : str
        Fingerprint of the run's frozen base; every client's, unless `mixes`. Empty where the
        server has none.
    ship : callable or None
        Returns the base as bytes, for nodes that lack it; None where bases are not shipped.
    variants : mapping
        Other bases, by the name that settings and nodes give them.
    mixes : bool
        Whether clients may have other bases.
    """

    plan: str
    plan_hash: str
    base: str
    ship: Callable[[], bytes] | None = None
    variants: Mapping[str, OtherBase] = field(default_factory=dict)
    mixes: bool = False

    def lacking(self, greeting: Greeting) -> dict[str, Callable[[], bytes]]:
        """Return what of the bases a node must be sent, by fingerprint."""
        wanted: dict[str, Callable[[], bytes] | None] = {}
        if greeting.base is None or greeting.variant:
            wanted[self.base] = self.ship
        for name, other in self.variants.items():
            if greeting.node.pools or greeting.variant == name:
                wanted[other.fingerprint] = other.ship
        return {f: s for f, s in wanted.items() if s is not None and f not in greeting.shipped}

    def problem(self, greeting: Greeting, found: object) -> str:
        """Say why a node's base will not do; empty if it will."""
        if found == self.base or (self.mixes and greeting.variant):
            return ""
        return (
            f"its base model has fingerprint {found}, the server's has {self.base}: install the "
            "same checkpoint there"
            + (", or take a method for models that differ" if greeting.variant else "")
        )
