"""A file of equally long vectors in numbered slots."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.errors import RunDirectoryError
from models.files import write_bytes


class VectorFile:
    """Slots of one size each, of which the lowest free one is taken first.

    A slot is read and written in one piece wherever it lies, and nothing of it is kept in memory.

    Parameters
    ----------
    path : Path
        Made if missing.
    size : int
        Numbers a slot.
    dtype : numpy.dtype
        How they are stored.

    Raises
    ------
    OSError
        By every method, where the system says no.
    """

    def __init__(self, path: Path, size: int, dtype: np.dtype[np.floating]) -> None:
        self.path = path
        self._size = size
        self._dtype = dtype
        self._bytes = size * dtype.itemsize
        self._free: list[int] = []
        self._count = 0
        if not path.exists():
            write_bytes(path, b"")
        self._file = path.open("r+b", buffering=0)

    def occupy(self, slots: Iterable[int]) -> None:
        """Say which slots hold something; all others are free.

        Raises
        ------
        RunDirectoryError
            The file is too short for them.
        """
        taken = np.unique(np.fromiter(slots, dtype=np.int64))
        self._count = int(taken[-1]) + 1 if taken.size else 0
        found = os.fstat(self._file.fileno()).st_size
        if found < self._count * self._bytes:
            raise RunDirectoryError(
                f"'{self.path}' has {found} bytes, the updates remembered in it need "
                f"{self._count * self._bytes}: it was cut off or copied in part; restore the whole "
                "folder, or start a new run"
            )
        gaps = np.ones(self._count, dtype=np.bool_)
        gaps[taken] = False
        self._free = [int(slot) for slot in np.flatnonzero(gaps)]
        heapify(self._free)

    def take(self) -> int:
        """Return a free slot, which is free no longer."""
        if self._free:
            return heappop(self._free)
        self._count += 1
        return self._count - 1

    def release(self, slots: Iterable[int]) -> None:
        """Give slots back; whatever they hold may be overwritten from now on."""
        for slot in slots:
            heappush(self._free, slot)

    def write(self, slot: int, vector: npt.NDArray[np.floating]) -> int:
        """Fill a slot with a vector of the file's size and dtype; return its checksum."""
        data = np.ascontiguousarray(vector).view(np.uint8).data
        self._file.seek(slot * self._bytes)
        done = 0
        while done < len(data):
            done += self._file.write(data[done:])
        return zlib.crc32(data)

    def read(self, slot: int, checksum: int) -> npt.NDArray[np.floating] | None:
        """Return a slot's vector, or None if it is not what was written there."""
        vector = np.empty(self._size, dtype=self._dtype)
        data = vector.view(np.uint8).data
        self._file.seek(slot * self._bytes)
        done = 0
        while done < len(data):
            count = self._file.readinto(data[done:])
            if not count:
                return None
            done += count
        return vector if zlib.crc32(data) == checksum else None

    def flush(self) -> None:
        """Return when everything written is on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
