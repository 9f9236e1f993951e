"""What a method keeps for a client on its node: a personal adapter, own factors, prototypes.

One folder a run and client, one safetensors file a round; plain values travel in its header, so
that both are written at once. A message of round t reads the newest version before t and writes t:
a retry repeats itself, and a resumed run finds what it had. Real nodes start a process for every
message, so nothing of this is only in memory.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.files import write_bytes

_FILE = re.compile(r"round-(\d{6,})\.safetensors")


@dataclass(frozen=True)
class Kept:
    """One version of a client's state.

    Attributes
    ----------
    round : int
        The round that wrote it.
    arrays : mapping of str to ndarray
    values : mapping
        Plain JSON values.
    """

    round: int
    arrays: Mapping[str, npt.NDArray[np.generic]]
    values: Mapping[str, object] = field(default_factory=dict)


class PersonalState:
    """The versions of one client's state in one run.

    Parameters
    ----------
    folder : Path
        The node's state folder.
    run : str
        The run directory's own id, never Flower's: it survives a resume.
    client : str
        Stable id; any text.
    """

    def __init__(self, folder: Path, run: str, client: str) -> None:
        mark = hashlib.sha256(client.encode()).hexdigest()[:12]
        plain = re.sub(r"[^\w-]+", "_", client)[:40]
        if not re.fullmatch(r"\w{8,64}", run):
            raise DataError(f"'{run[:70]}' is no run's id")
        self._folder = folder / "personal" / run / f"{plain}-{mark}"

    def before(self, server_round: int) -> Kept | None:
        """Return the newest version written before a round, or None.

        Raises
        ------
        DataError
            The version is there but damaged; says which file to remove.
        """
        rounds = [r for r in self._rounds() if r < server_round]
        return self._read(rounds[-1]) if rounds else None

    def write(
        self,
        server_round: int,
        arrays: Mapping[str, npt.NDArray[np.generic]],
        values: Mapping[str, object] | None = None,
    ) -> None:
        """Write a round's version; writing it again replaces it."""
        from safetensors.numpy import save

        plain = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
        data = save(plain, metadata={"values": json.dumps(dict(values or {}))})
        digest = hashlib.sha256(data).hexdigest().encode()
        write_bytes(self._path(server_round), digest + data)

    def forget_before(self, oldest: int) -> None:
        """Remove versions that no resume can ask for.

        Parameters
        ----------
        oldest : int
            Round of the oldest checkpoint kept; the newest version up to it stays.
        """
        known = [r for r in self._rounds() if r <= oldest]
        for server_round in known[:-1]:
            self._path(server_round).unlink(missing_ok=True)

    def _path(self, server_round: int) -> Path:
        return self._folder / f"round-{server_round:06d}.safetensors"

    def _rounds(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        names = (_FILE.fullmatch(file.name) for file in self._folder.iterdir())
        return sorted(int(match[1]) for match in names if match)

    def _read(self, server_round: int) -> Kept:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = self._path(server_round)
        raw = path.read_bytes()
        digest, data = raw[:64], raw[64:]
        if hashlib.sha256(data).hexdigest().encode() != digest:
            raise DataError(f"the personal state '{path}' is damaged; remove this file to go on")
        try:
            length = int.from_bytes(data[:8], "little")
            header = json.loads(data[8 : 8 + length])
            values = json.loads(header.get("__metadata__", {}).get("values", "{}"))
            return Kept(server_round, load(data), values)
        except (SafetensorError, ValueError) as error:
            raise DataError(f"the personal state '{path}' cannot be read: {error}") from None
