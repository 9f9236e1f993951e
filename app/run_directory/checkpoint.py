"""Checkpoints: what a run needs to go on as if nothing had happened.

One folder a checkpoint: ``state.safetensors`` (the vectors of the strategy and of the loop),
``state.json`` (their values, the round, the clients' accounts, the rounds so far, what the gate
remembers) and ``manifest.json`` with the SHA-256 sums of both. Every file is written to a temporary
name, flushed and renamed, the manifest last: a folder without a matching manifest is no checkpoint.
Generators need no place in it, because they are derived from seed and round.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from logging import WARNING
from pathlib import Path
from types import MappingProxyType

import numpy as np
from flwr.supercore import log
from safetensors import SafetensorError
from safetensors.numpy import load, save

from models.errors import RunDirectoryError
from models.files import write_bytes, write_text
from strategies.base import State
from strategies.rounds.record import ClientAccount, Ledger

FORMAT = 1
_LOOP = "@loop"
_NOTHING = State()
_FILES = ("state.safetensors", "state.json")
_NAME = re.compile(r"round-\d{6,}")
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, SafetensorError, RunDirectoryError)


class _OtherModelError(RunDirectoryError):
    """Older checkpoints are of that model too."""


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
    loop : State
        The round loop's: who was under way, and what waited for the next round.
    """

    round: int
    state: State
    ledger: Ledger
    history: tuple[str, ...]
    screening: Mapping[str, int | Sequence[float]] = field(default_factory=dict)
    roster: tuple[Mapping[str, object], ...] = ()
    loop: State = _NOTHING


class Checkpoints:
    """The checkpoints of one run directory.

    Parameters
    ----------
    folder : Path
    uid : str
        The run directory's own id; a checkpoint of another run is refused.
    keep : int
        How many stay.
    schema : str
        Hash of what clients train; another one is another model.
    """

    def __init__(self, folder: Path, uid: str, keep: int, schema: str = "") -> None:
        self._folder = folder
        self._schema = schema
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
        loop: State = _NOTHING,
    ) -> None:
        """Write a checkpoint and let go of the oldest ones."""
        self._check_folder()
        state |= loop.nested(_LOOP)
        place = self._folder / f"round-{server_round:06d}"
        arrays = save({k: np.ascontiguousarray(v) for k, v in state.arrays.items()})
        values = json.dumps(
            {
                "format": FORMAT,
                "uid": self._uid,
                "schema": self._schema,
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
        return min((int(p.name.removeprefix("round-")) for p in self._places()), default=0)

    def newest(self) -> Checkpoint | None:
        """Return the newest intact checkpoint; a damaged or foreign one is named and passed over.

        Raises
        ------
        RunDirectoryError
            The folder leads out of the run directory, or the run had another model.
        """
        self._check_folder()
        for other in sorted(self._entries() - set(self._places())):
            log(WARNING, "'%s' is not used: %s", other, _why_not(other))
        for place in self._places():
            try:
                return self._read(place)
            except _OtherModelError:
                raise
            except _UNREADABLE as error:
                log(WARNING, "checkpoint '%s' is not used: %s", place, error)
        return None

    def _check_folder(self) -> None:
        if self._folder.is_symlink():
            raise RunDirectoryError(
                f"'{self._folder}' is a symbolic link: checkpoints are read and written inside "
                "the run directory only; put the folder itself there, or choose another out-dir"
            )

    def _entries(self) -> set[Path]:
        return set(self._folder.iterdir()) if self._folder.is_dir() else set()

    def _places(self) -> list[Path]:
        """Return the folders, newest first."""
        found = [p for p in self._entries() if _NAME.fullmatch(p.name) and not p.is_symlink()]
        return sorted((p for p in found if p.is_dir()), reverse=True)

    def _read(self, place: Path) -> Checkpoint:
        for name in ("manifest.json", *_FILES):
            if (place / name).is_symlink():
                raise RunDirectoryError(f"'{name}' is a symbolic link")
        sums = json.loads((place / "manifest.json").read_text())
        if sorted(sums) != sorted(_FILES):
            listed = ", ".join(map(str, sums))
            raise RunDirectoryError(f"it holds {listed}; format {FORMAT} holds {', '.join(_FILES)}")
        data = {name: (place / name).read_bytes() for name in _FILES}
        for name in _FILES:
            if _sum(data[name]) != sums[name]:
                raise RunDirectoryError(f"'{name}' is damaged (its SHA-256 does not match)")
        raw = json.loads(data["state.json"])
        if raw["format"] != FORMAT:
            raise RunDirectoryError(f"format {raw['format']}, this version reads {FORMAT}")
        if raw["uid"] != self._uid:
            raise RunDirectoryError(f"it belongs to another run ({raw['uid']}, not {self._uid})")
        if place.name != f"round-{raw['round']:06d}":
            raise RunDirectoryError(f"it says that it is of round {raw['round']}")
        if raw["schema"] != self._schema:
            raise _OtherModelError(
                f"'{place}' was trained with another schema ({raw['schema']}) than this run's "
                f"({self._schema}): base model, adapter or labels have changed since; resume with "
                "the same ones, or choose another run-name"
            )
        ledger = Ledger()
        ledger.accounts.update({k: ClientAccount(**v) for k, v in raw["clients"].items()})
        whole = State(load(data["state.safetensors"]), raw["values"])
        return Checkpoint(
            int(raw["round"]),
            whole.beside(_LOOP),
            ledger,
            tuple(raw["history"]),
            raw["screening"],
            tuple(raw["roster"]),
            whole.under(_LOOP),
        )


def _why_not(entry: Path) -> str:
    if entry.is_symlink():
        return "it is a symbolic link"
    return (
        f"it is no checkpoint: these are folders round-NNNNNN with {', '.join(_FILES)}, "
        "and nothing else is opened"
    )


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
