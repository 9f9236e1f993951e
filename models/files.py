"""Files: written to a temporary name, flushed and renamed; tables that grow; where they lie."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.errors import ModelError
from models.schema import NamedArrays


def state_folder(wanted: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder for what outlives a process: bases, plans, cards, personal state.

    Parameters
    ----------
    wanted : path, optional
        What the node or the run says; else ``$BOUQUET_HOME``, else ``~/.bouquet``.
    """
    chosen = str(wanted or "") or os.environ.get("BOUQUET_HOME") or ""
    return Path(chosen) if chosen else Path.home() / ".bouquet"


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file so that a reader sees the old content or the new, never a mix.

    Parameters
    ----------
    path : Path
    data : bytes
    durable : bool
        Flush to the disk, so that it outlives a power failure too; not needed for what is
        written anew all the time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        temporary.replace(path)
        if durable:
            _flush_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _flush_folder(folder: Path) -> None:
    """Make a rename last through a power failure, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write UTF-8 text; see `write_bytes`."""
    write_bytes(path, text.encode(), durable=durable)


def write_json(path: Path, value: object) -> None:
    """Write indented JSON; see `write_bytes`."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_safetensors(path: Path, arrays: NamedArrays) -> None:
    """Write arrays as one safetensors file, each in its own dtype."""
    from safetensors.numpy import save

    write_bytes(path, save(dict(arrays.typed()), metadata={"format": "pt"}))


def write_adapter(
    folder: Path, arrays: NamedArrays, config: Mapping[str, object], card: str
) -> None:
    """Write an adapter folder that PEFT loads.

    Parameters
    ----------
    folder : Path
        Made if missing.
    arrays : NamedArrays
        Keys as in PEFT's own ``adapter_model.safetensors``.
    config : mapping
        Content of ``adapter_config.json``.
    card : str
        Content of ``README.md``.
    """
    write_safetensors(folder / "adapter_model.safetensors", arrays)
    write_json(folder / "adapter_config.json", dict(config))
    write_text(folder / "README.md", card)


def adapter_folder(run: Path) -> Path:
    """Return a run directory's adapter folder; another folder is taken for one itself."""
    return run / "adapter" if (run / "adapter").is_dir() else run


def read_adapter(
    folder: Path,
) -> tuple[dict[str, npt.NDArray[np.generic]], dict[str, object]]:
    """Read an adapter folder of PEFT's.

    Returns
    -------
    dict of str to ndarray
        Keys as in ``adapter_model.safetensors``.
    dict
        Content of ``adapter_config.json``.

    Raises
    ------
    ModelError
        There is none, or it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        config = dict(json.loads((folder / "adapter_config.json").read_text()))
        return load_file(folder / "adapter_model.safetensors"), config
    except (OSError, ValueError, SafetensorError) as error:
        raise no_adapter(folder, error) from None


def no_adapter(folder: Path, error: Exception) -> ModelError:
    """Return what to say where an adapter could not be read."""
    several = sorted(str(path.parent) for path in folder.glob("clusters/*/adapter"))
    why = f"each cluster has its own, take one of {', '.join(several)}" if several else str(error)
    return ModelError(f"no adapter to read in '{folder}': {why}")


class GrowingTable:
    """A CSV file that grows round by round, and is cut where a resumed run begins.

    Its first column is the round; it is there from the first row on.

    Parameters
    ----------
    file : Path
    columns : sequence of str
        ``"round"`` first.
    """

    def __init__(self, file: Path, columns: Sequence[str]) -> None:
        self._file = file
        self._columns = columns

    def add(self, server_round: int, rows: Iterable[Sequence[object]]) -> None:
        """Append a round's rows, without the round."""
        lines = [(server_round, *row) for row in rows]
        if not lines:
            return
        new = not self._file.exists()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", newline="") as out:
            table = csv.writer(out, lineterminator="\n")
            table.writerows([self._columns, *lines] if new else lines)

    def keep(self, last: int) -> None:
        """Forget rounds later than `last`, and a line that a crash cut short."""
        if not self._file.is_file():
            return
        head, *rows = self._file.read_text().splitlines(keepends=True)
        kept = [r for r in rows if r.endswith("\n") and int(r.partition(",")[0]) <= last]
        write_text(self._file, "".join([head, *kept]), durable=False)
