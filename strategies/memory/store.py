"""The memory of updates: one vector a client, out of core, in step with the checkpoints.

Nothing is overwritten that a kept checkpoint can ask for: a round writes versions of its own beside
the old ones, a read for round t takes the newest version before t, and going back to a checkpoint
drops what came after it. So a checkpoint copies nothing; a round costs what its cohort writes.

The vectors lie in one file of equal slots, and a small SQLite table says whose is where. The slot
of a version that was saved is used again only after the table without it is on the disk.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal
from weakref import WeakValueDictionary, finalize

import numpy as np
import numpy.typing as npt

from models.errors import BouquetError, RunDirectoryError
from models.schema import Vector
from strategies.memory.faults import damaged, on_disk, refuse_others
from strategies.memory.vectors import VectorFile
from strategies.memory.versions import Fact, Version, VersionTable, end_of, start_of

FORMAT = 1
_STORED: dict[str, np.dtype[np.floating]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
}
# By the folder they are in: whoever opens it again in this process takes it over.
_OPEN: WeakValueDictionary[Path, UpdateMemory] = WeakValueDictionary()
_NEVER = 2**61


@dataclass(frozen=True)
class Remembered:
    """What the memory holds of one client.

    Attributes
    ----------
    vector : ndarray of float32, shape (size,)
        The numbers as stored.
    examples : float
        The client's number of examples when it was written.
    round : int
        The round that wrote it.
    """

    vector: npt.NDArray[np.float32]
    examples: float
    round: int


class UpdateMemory:
    """One vector a client, on disk, with a version for every round that wrote one.

    For one process and one thread at a time. Opened again in the same process, the folder belongs
    to the new object, and what the old one had not saved is forgotten. Round 0 is the empty memory.

    Parameters
    ----------
    folder : Path or None
        Made if missing; None takes a temporary one, which goes with this object.
    size : int
        Length of the vectors, at least 1.
    dtype : {"float32", "float16"}
        How numbers are stored. float16 ends at 65504 and loses digits below 6e-5.

    Raises
    ------
    RunDirectoryError
        The folder holds a memory of another size or dtype, is open in another process, damaged,
        or cannot be written; also raised by every method when the disk fails.
    """

    def __init__(
        self, folder: Path | None, size: int, dtype: Literal["float32", "float16"]
    ) -> None:
        if size < 1 or dtype not in _STORED:
            raise BouquetError(
                f"a memory of {size} numbers of '{dtype}': the size is at least 1, the dtype "
                f"one of {', '.join(_STORED)}"
            )
        self.size = size
        self._dtype = _STORED[dtype]
        # Slots of saved versions that were dropped: on the disk the table still names them.
        self._held: list[int] = []
        with ExitStack() as opened:
            if folder is None:
                folder = Path(opened.enter_context(TemporaryDirectory(prefix="bouquet-")))
            self.folder = folder
            with on_disk("open", self.folder):
                folder.mkdir(parents=True, exist_ok=True)
                earlier = _OPEN.get(folder.resolve())
                if earlier is not None:
                    earlier.close()
                self._table = VersionTable(folder / "versions.sqlite")
                opened.callback(self._table.close)
                wanted: dict[str, Fact] = {"format": FORMAT, "size": size, "dtype": dtype}
                facts = self._table.facts()
                if facts:
                    refuse_others(folder, facts, wanted)
                self._vectors = VectorFile(folder / "vectors.bin", size, self._dtype)
                opened.callback(self._vectors.close)
                self._vectors.occupy(self._table.slots())
                if not facts:
                    for name, value in wanted.items():
                        self._table.note(name, value)
                    self._table.commit()
            self._saved = int(facts.get("saved", end_of(0)))  # moments, like all that follows
            self._pruned = int(facts.get("pruned", 0))
            self._close = finalize(self, opened.pop_all().close)
            _OPEN[folder.resolve()] = self

    def __len__(self) -> int:
        """Number of clients with a vector, staged ones included."""
        return sum(1 for _ in self.clients(_NEVER))

    # ---- a round ---------------------------------------------------------------------------

    def read(self, client: str, before: int) -> Remembered | None:
        """Return what was newest of a client before a round; None if nothing, or if it had left.

        Raises
        ------
        RunDirectoryError
            Its vector is damaged.
        """
        with on_disk("read", self.folder):
            version = self._table.newest(client, start_of(before))
            return self._remembered(version) if version else None

    def stage(
        self, client: str, server_round: int, vector: Vector, examples: float
    ) -> npt.NDArray[np.float32]:
        """Write a client's vector of a round; writing it again replaces it.

        Parameters
        ----------
        client : str
        server_round : int
            Later than the round saved last.
        vector : ndarray, shape (size,)
            Finite; beyond the range of the stored dtype it is clamped.
        examples : float

        Returns
        -------
        ndarray of float32, shape (size,)
            The numbers as stored, for sums that must agree with the memory.

        Raises
        ------
        BouquetError
            Another shape, a number that is not finite, or a round that is saved already.
        """
        self._require_open(server_round)
        if vector.shape != (self.size,):
            raise BouquetError(
                f"an update of shape {vector.shape} of '{client}' in round {server_round} does not "
                f"fit a memory of {self.size} numbers"
            )
        if not np.isfinite(vector).all():
            raise BouquetError(
                f"the update of '{client}' in round {server_round} has numbers that are not "
                "finite; screen updates before they are remembered"
            )
        limit = np.finfo(self._dtype).max
        stored = np.clip(vector, -limit, limit).astype(self._dtype)
        with on_disk("write", self.folder):
            old = self._table.at(client, end_of(server_round))
            slot = self._vectors.take() if old is None or old.slot is None else old.slot
            checksum = self._vectors.write(slot, stored)
            self._table.put(Version(client, end_of(server_round), float(examples), slot, checksum))
        return stored.astype(np.float32, copy=False)

    def settle(self, server_round: int, clients: Collection[str]) -> None:
        """Keep of a round's vectors those of these clients and no other.

        A failed attempt so leaves no trace; that a client left before the round stays.
        """
        self._require_open(server_round)
        kept = frozenset(clients)
        with on_disk("write", self.folder):
            others = [c for c in self._table.clients_at(end_of(server_round)) if c not in kept]
            self._let_go(self._table.drop(others, end_of(server_round)))

    def forget(self, client: str, server_round: int) -> Remembered | None:
        """Let a client leave, before a round; checkpoints of earlier rounds still know it.

        It may come back, in this round or later, and starts from nothing.

        Returns
        -------
        Remembered or None
            What there was of it, for its share to be taken out; None if there was nothing, so also
            the second time.
        """
        self._require_open(server_round)
        last = self.read(client, server_round)
        with on_disk("write", self.folder):
            self._let_go(self._table.drop([client], end_of(server_round)))
            if last is not None:
                self._table.put(Version(client, start_of(server_round), 0.0, None, 0))
        return last

    def clients(self, before: int) -> Iterator[tuple[str, float, int]]:
        """Yield client, examples and round written of all there is before a round, by client."""
        with on_disk("read", self.folder):
            for version in self._table.live(start_of(before)):
                yield version.client, version.examples, version.moment // 2

    # ---- checkpoints -----------------------------------------------------------------------

    def save(self, server_round: int) -> None:
        """Make everything up to a round durable; called before its checkpoint is written.

        Raises
        ------
        BouquetError
            A later round is saved already.
        """
        if end_of(server_round) < self._saved:
            raise BouquetError(
                f"round {server_round} of the memory in '{self.folder}' cannot be saved after "
                f"round {self._saved // 2}; call restore to go back"
            )
        with on_disk("save", self.folder):
            self._commit(end_of(server_round), self._pruned)

    def restore(self, server_round: int) -> None:
        """Go back to a saved round: whatever later rounds wrote is gone, for good.

        Raises
        ------
        RunDirectoryError
            The round was never saved here, or it is older than what `prune` left.
        """
        moment = end_of(server_round)
        if moment > self._saved or (server_round > 0 and moment < self._pruned):
            raise RunDirectoryError(
                f"the memory of updates in '{self.folder}' cannot go to round {server_round}: it "
                f"holds rounds {self._pruned // 2} to {self._saved // 2}; bring back the folder "
                "that belongs to this checkpoint, or start a new run"
            )
        with on_disk("restore", self.folder):
            self._let_go(self._table.drop_after(moment if server_round else 0))
            self._commit(moment, min(self._pruned, moment))

    def prune(self, oldest: int) -> None:
        """Remove versions that no restore can ask for.

        Parameters
        ----------
        oldest : int
            Round of the oldest checkpoint that is kept; every client's newest version up to it
            stays. Rounds that are not saved yet are left alone.
        """
        with on_disk("write", self.folder):
            # A checkpoint of a round without participants restores the round before it.
            until = self._table.last_moment(min(end_of(oldest), self._saved))
            if until <= self._pruned:
                return
            self._let_go(self._table.drop_superseded(self._pruned, until))
            self._table.note("pruned", until)
            self._pruned = until

    def close(self) -> None:
        """Close the files; what was not saved is forgotten, a temporary folder removed."""
        self._close()

    # ---- inside ----------------------------------------------------------------------------

    def _commit(self, saved: int, pruned: int) -> None:
        self._table.note("saved", saved)
        self._table.note("pruned", pruned)
        # The table may name a vector only when the vector is on the disk.
        self._vectors.flush()
        self._table.commit()
        self._saved, self._pruned = saved, pruned
        self._vectors.release(self._held)
        self._held.clear()

    def _let_go(self, versions: Iterable[Version]) -> None:
        for version in versions:
            if version.slot is not None and version.moment > self._saved:
                self._vectors.release([version.slot])
            elif version.slot is not None:
                self._held.append(version.slot)

    def _remembered(self, version: Version) -> Remembered | None:
        if version.slot is None:
            return None
        vector = self._vectors.read(version.slot, version.checksum)
        if vector is None:
            raise damaged(self._vectors.path, version.client, version.moment // 2)
        plain = vector.astype(np.float32, copy=False)
        return Remembered(plain, version.examples, version.moment // 2)

    def _require_open(self, server_round: int) -> None:
        if start_of(server_round) <= self._saved:
            raise BouquetError(
                f"round {server_round} of the memory in '{self.folder}' is closed: round "
                f"{self._saved // 2} is saved; call restore to go back"
            )
