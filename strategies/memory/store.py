"""The memory of updates: one vector a client, out of core, in step with the checkpoints.

Nothing is overwritten that a kept checkpoint can ask for: a round writes versions of its own beside
the old ones, a read for round t takes the newest version before t, and going back to a checkpoint
drops what came after it. So a checkpoint copies nothing; a round costs what its cohort writes.

The vectors lie in one file of equal slots, and a small SQLite table says whose is where. The slot of
a version that was saved is used again only after the table without it is on the disk.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import numpy.typing as npt

from models.errors import BouquetError, RunDirectoryError
from models.schema import Vector
from strategies.memory.vectors import VectorFile
from strategies.memory.versions import Fact, Version, VersionTable

FORMAT = 1
_STORED = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}
_NEVER = 2**62


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

    For one thread at a time and one process. Round 0 is the empty memory.

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
            with self._disk("open"):
                folder.mkdir(parents=True, exist_ok=True)
                self._table = VersionTable(folder / "versions.sqlite")
                opened.callback(self._table.close)
                facts = self._agreed({"format": FORMAT, "size": size, "dtype": dtype})
                self._vectors = VectorFile(folder / "vectors.bin", size, self._dtype)
                opened.callback(self._vectors.close)
                self._vectors.occupy(self._table.slots())
            self._saved = int(facts.get("saved", 0))
            self._pruned = int(facts.get("pruned", 0))
            self._close = weakref.finalize(self, opened.pop_all().close)

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
        with self._disk("read"):
            version = self._table.newest(client, before)
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
        self._require_open_round(server_round)
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
        with self._disk("write"):
            old = self._table.at(client, server_round)
            slot = self._vectors.take() if old is None or old.slot is None else old.slot
            checksum = self._vectors.write(slot, stored)
            self._table.put(Version(client, server_round, float(examples), slot, checksum))
        return stored.astype(np.float32, copy=False)

    def settle(self, server_round: int, clients: Collection[str]) -> None:
        """Keep of a round what these clients wrote and nothing else.

        A failed attempt so leaves no trace; what `forget` writes comes after it.
        """
        self._require_open_round(server_round)
        kept = frozenset(clients)
        with self._disk("write"):
            others = [c for c in self._table.of_round(server_round) if c not in kept]
            self._let_go(self._table.drop(others, server_round))

    def forget(self, client: str, server_round: int) -> Remembered | None:
        """Let a client leave from a round on; older checkpoints still know it.

        Returns
        -------
        Remembered or None
            What there was of it before this round, as `read` gives it; doing it twice returns the
            same.
        """
        self._require_open_round(server_round)
        last = self.read(client, server_round)
        with self._disk("write"):
            self._let_go(self._table.drop([client], server_round))
            if last is not None:
                self._table.put(Version(client, server_round, 0.0, None, 0))
        return last

    def clients(self, before: int) -> Iterator[tuple[str, float, int]]:
        """Yield client, examples and round written of all there is before a round, by client."""
        with self._disk("read"):
            for version in self._table.live(before):
                yield version.client, version.examples, version.round

    # ---- checkpoints -----------------------------------------------------------------------

    def save(self, server_round: int) -> None:
        """Make everything up to a round durable; called before its checkpoint is written.

        Raises
        ------
        BouquetError
            A later round is saved already.
        """
        if server_round < self._saved:
            raise BouquetError(
                f"round {server_round} cannot be saved after round {self._saved}: call restore"
            )
        with self._disk("save"):
            # The table may name a vector only when the vector is on the disk.
            self._vectors.flush()
            self._commit(server_round, self._pruned)

    def restore(self, server_round: int) -> None:
        """Go back to a saved round: whatever later rounds wrote is gone, for good.

        Raises
        ------
        RunDirectoryError
            The round was never saved here, or it is older than what `prune` left.
        """
        if server_round > self._saved or 0 < server_round < self._pruned:
            raise RunDirectoryError(
                f"the memory of updates in '{self.folder}' cannot go to round {server_round}: it "
                f"holds rounds {self._pruned} to {self._saved}; bring back the folder that belongs "
                "to this checkpoint, or start a new run"
            )
        with self._disk("restore"):
            self._let_go(self._table.drop_after(server_round))
            self._commit(server_round, min(self._pruned, server_round))

    def prune(self, oldest: int) -> None:
        """Remove versions that no restore can ask for.

        Parameters
        ----------
        oldest : int
            Round of the oldest checkpoint that is kept; every client's newest version up to it
            stays. Rounds that are not saved yet are left alone.
        """
        oldest = min(oldest, self._saved)
        if oldest <= self._pruned:
            return
        with self._disk("write"):
            self._let_go(self._table.drop_superseded(self._pruned, oldest))
            self._table.note("pruned", oldest)
        self._pruned = oldest

    def close(self) -> None:
        """Close the files; what was not saved is forgotten, a temporary folder removed."""
        self._close()

    # ---- inside ----------------------------------------------------------------------------

    def _commit(self, saved: int, pruned: int) -> None:
        self._table.note("saved", saved)
        self._table.note("pruned", pruned)
        self._table.commit()
        self._saved, self._pruned = saved, pruned
        self._vectors.release(self._held)
        self._held.clear()

    def _let_go(self, versions: Iterable[Version]) -> None:
        for version in versions:
            if version.slot is None:
                continue
            if version.round > self._saved:
                self._vectors.release([version.slot])
            else:
                self._held.append(version.slot)

    def _remembered(self, version: Version) -> Remembered | None:
        if version.slot is None:
            return None
        vector = self._vectors.read(version.slot, version.checksum)
        if vector is None:
            raise RunDirectoryError(
                f"in '{self._vectors.path}' the update of '{version.client}' of round "
                f"{version.round} is damaged (its checksum does not match); restore the whole "
                "folder, or start a new run"
            )
        plain = vector.astype(np.float32, copy=False)
        return Remembered(plain, version.examples, version.round)

    def _require_open_round(self, server_round: int) -> None:
        if server_round <= self._saved:
            raise BouquetError(
                f"round {server_round} of the memory in '{self.folder}' is closed: round "
                f"{self._saved} is saved; call restore to go back"
            )

    def _agreed(self, wanted: dict[str, Fact]) -> dict[str, Fact]:
        facts = self._table.facts()
        if not facts:
            for name, value in wanted.items():
                self._table.note(name, value)
            self._table.commit()
        for name, value in wanted.items():
            if facts and facts.get(name) != value:
                raise RunDirectoryError(
                    f"the memory of updates in '{self.folder}' has {name} {facts.get(name)}, this "
                    f"run needs {value}: use the settings it was made with, or start a new run"
                )
        return facts

    @contextmanager
    def _disk(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise RunDirectoryError(
                f"cannot {doing} the memory of updates in '{self.folder}': {error}; it takes "
                f"{self.size * self._dtype.itemsize} bytes a client and belongs to one process"
            ) from error
