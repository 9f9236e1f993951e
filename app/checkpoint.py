"""Checkpoints: what a run needs to go on as if nothing had happened.

One folder a checkpoint: ``state.safetensors`` (the strategy's vectors), ``state.json`` (its values,
the round, the clients' accounts, the rounds so far, what the gate remembers) and ``manifest.json``
with the SHA-256 sums of both. Every file is written to a temporary name, flushed and renamed, the
manifest last: a folder without a matching manifest is no checkpoint. Generators need no place in
it, because they are derived from seed and round.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from logging import WARNING
from pathlib import Path
from types import MappingProxyType

import numpy as np
from flwr.supercore import log
from safetensors.numpy import load, save

from models.errors import RunDirectoryError
from models.files import write_bytes, write_text
from strategies.base import State
from strategies.rounds.record import ClientAccount, Ledger

FORMAT = 1
_FILES = ("state.safetensors", "state.json")


@dataclass(frozen=True)
class Checkpoint:
    """A run after some round.

    Attributes
    ----------
    round : int
        The last finished one.
    state : State
        The strategy's, wrappers included.
    ledger : Ledger
    history : tuple of str
        The lines of ``metrics.jsonl`` so far.
    screening : mapping
        The gate's state: the norms of the updates accepted so far.
    roster : tuple of mapping
        Every client known by then, reachable or not.
    """

    round: int
    state: State
    ledger: Ledger
    history: tuple[str, ...]
    screening: Mapping[str, int | Sequence[float]] = field(default_factory=dict)
    roster: tuple[Mapping[str, object], ...] = ()


class Checkpoints:
    """The checkpoints of one run directory.

    Parameters
    ----------
    folder : Path
    uid : str
        The run directory's own id; a checkpoint of another run is refused.
    keep : int
        How many stay.
    """

    def __init__(self, folder: Path, uid: str, keep: int) -> None:
        self._folder = folder
        self._uid = uid
        self._keep = keep

    def save(
        self,
        server_round: int,
        state: State,
        ledger: Ledger,
        history: Sequence[str],
        screening: Mapping[str, int | Sequence[float]] = MappingProxyType({}),
        roster: Sequence[Mapping[str, object]] = (),
    ) -> None:
        """Write a checkpoint and let go of the oldest ones."""
        place = self._folder / f"round-{server_round:06d}"
        arrays = save({k: np.ascontiguousarray(v) for k, v in state.arrays.items()})
        values = json.dumps(
            {
                "format": FORMAT,
                "uid": self._uid,
                "round": server_round,
                "values": dict(state.values),
                "clients": {name: asdict(account) for name, account in ledger.accounts.items()},
                "history": list(history),
                "screening": dict(screening),
                "roster": [dict(client) for client in roster],
            }
        ).encode()
        try:
            for name, data in zip(_FILES, (arrays, values), strict=True):
                write_bytes(place / name, data)
            sums = {n: _sum(d) for n, d in zip(_FILES, (arrays, values), strict=True)}
            write_text(place / "manifest.json", json.dumps(sums, indent=1) + "\n")
        except OSError as error:
            size = len(arrays) + len(values)
            raise RunDirectoryError(
                f"cannot write the checkpoint '{place}' ({size} bytes): {error.strerror}; "
                "the one before is intact: make room and continue with resume=true"
            ) from error
        for old in self._places()[self._keep :]:
            # Without its manifest a half-removed folder is no checkpoint.
            (old / "manifest.json").unlink(missing_ok=True)
            shutil.rmtree(old, ignore_errors=True)

    @property
    def oldest(self) -> int:
        """Round of the oldest checkpoint that is kept; 0 while there is none."""
        numbers = [place.name.removeprefix("round-") for place in self._places()]
        return min((int(number) for number in numbers if number.isdecimal()), default=0)

    def newest(self) -> Checkpoint | None:
        """Return the newest intact checkpoint; a damaged one is named and passed over."""
        for place in self._places():
            try:
                return self._read(place)
            except (OSError, ValueError, KeyError, TypeError, RunDirectoryError) as error:
                log(WARNING, "checkpoint '%s' is not used: %s", place.name, error)
        return None

    def _places(self) -> list[Path]:
        """Return the folders, newest first."""
        found = [p for p in self._folder.glob("round-*") if p.is_dir() and not p.is_symlink()]
        return sorted(found, reverse=True)

    def _read(self, place: Path) -> Checkpoint:
        sums = json.loads((place / "manifest.json").read_text())
        data = {name: (place / name).read_bytes() for name in _FILES}
        for name in _FILES:
            if _sum(data[name]) != sums[name]:
                raise RunDirectoryError(f"'{name}' is damaged (its SHA-256 does not match)")
        raw = json.loads(data["state.json"])
        if raw["format"] != FORMAT:
            raise RunDirectoryError(f"format {raw['format']}, this version reads {FORMAT}")
        if raw["uid"] != self._uid:
            raise RunDirectoryError("it belongs to another run")
        ledger = Ledger()
        ledger.accounts.update({k: ClientAccount(**v) for k, v in raw["clients"].items()})
        state = State(load(data["state.safetensors"]), raw["values"])
        return Checkpoint(
            int(raw["round"]),
            state,
            ledger,
            tuple(raw["history"]),
            raw["screening"],
            tuple(raw["roster"]),
        )


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
