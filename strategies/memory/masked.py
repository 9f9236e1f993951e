"""Every client's last model and mask: on disk with versions, recent models also in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from models.errors import BouquetError
from models.payloads.masked import Bits, Mask, packed, unpacked
from models.schema import Vector
from strategies.memory.store import UpdateMemory

_RECENT_BYTES = 128 << 20  # of models, and as many of means
_BITS_A_NUMBER = 16  # of a mask, in one float32 of the memory, which holds 24 exactly

_Key = TypeVar("_Key")


class MaskedMemory:
    """Models and masks of one length; what a round stages counts from its `settle` on.

    Parameters
    ----------
    folder : Path or None
        As of `UpdateMemory`.
    size : int
        Numbers of a model.
    """

    def __init__(self, folder: Path | None, size: int) -> None:
        self._size = size
        words = -(-size // _BITS_A_NUMBER)
        self._memory = UpdateMemory(folder, size + words, "float32")
        self._recent: OrderedDict[str, Vector] = OrderedDict()
        self._means: OrderedDict[tuple[str, ...], Vector] = OrderedDict()
        self._masks: dict[str, Bits] = {}
        self._settled = 0

    def stage(self, client: str, server_round: int, model: Vector, mask: Mask) -> None:
        """Write a client's model and mask, shapes (size,); writing again replaces them."""
        bits = packed(mask)
        words = np.zeros(2 * (-(-self._size // _BITS_A_NUMBER)), np.uint8)
        words[: bits.size] = bits
        both = np.concatenate([model, words.view("<u2").astype(np.float32)])
        self._memory.stage(client, server_round, both, 0.0)

    def settle(self, server_round: int, clients: Collection[str]) -> None:
        """Keep what a round staged of these clients, and of no other."""
        self._memory.settle(server_round, clients)
        self._settled = server_round
        self._means.clear()
        for client in clients:
            self._recent.pop(client, None)
            self._masks[client] = self._read(client)[1]

    def __contains__(self, client: str) -> bool:
        return client in self._masks

    @property
    def masks(self) -> dict[str, Bits]:
        """All masks, as bytes of eight bits, by client in sorted order."""
        return dict(sorted(self._masks.items()))

    def present(self, server_round: int) -> Iterator[str]:
        """Yield those whose model is of this round."""
        known = self._memory.clients(self._settled + 1)
        return (c for c, _, written in known if written == server_round and c in self)

    def model(self, client: str) -> Vector:
        """Return a client's last model, shape (size,)."""
        found = self._recent.get(client)
        return self._kept(self._recent, client, self._read(client)[0] if found is None else found)

    def mean(self, clients: tuple[str, ...]) -> Vector:
        """Return the unweighted mean of some clients' last models, shape (size,)."""
        found = self._means.get(clients)
        if found is None:
            total = np.zeros(self._size)
            for client in clients:
                total += self.model(client)
            found = (total / len(clients)).astype(np.float32)
        return self._kept(self._means, clients, found)

    def _kept(self, recent: OrderedDict[_Key, Vector], key: _Key, vector: Vector) -> Vector:
        recent[key] = vector
        recent.move_to_end(key)
        while len(recent) > max(1, _RECENT_BYTES // (4 * self._size)):
            recent.popitem(last=False)
        return vector

    def mask(self, client: str) -> Mask:
        """Return a client's last mask, shape (size,)."""
        return unpacked(self._masks[client], self._size)

    def forget(self, client: str, server_round: int) -> None:
        """Let a client leave, before a round."""
        self._memory.forget(client, server_round)
        self._means.clear()
        self._recent.pop(client, None)
        self._masks.pop(client, None)

    def save(self, server_round: int) -> None:
        """Make everything up to a round durable."""
        self._memory.save(server_round)

    def restore(self, server_round: int) -> None:
        """Go back to a saved round."""
        self._memory.restore(server_round)
        self._settled = server_round
        self._recent.clear()
        self._means.clear()
        clients = [client for client, _, _ in self._memory.clients(server_round + 1)]
        self._masks = {client: self._read(client)[1] for client in clients}

    def prune(self, oldest: int) -> None:
        """Remove versions that no restore can ask for."""
        self._memory.prune(oldest)

    def _read(self, client: str) -> tuple[Vector, Bits]:
        found = self._memory.read(client, self._settled + 1)
        if found is None:
            raise BouquetError(f"the memory of models holds none of '{client}'")
        words = found.vector[self._size :].astype("<u2").view(np.uint8)
        return found.vector[: self._size].copy(), words[: -(-self._size // 8)].copy()
