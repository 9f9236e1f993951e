"""Files are written to a temporary name, flushed to the disk and renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from models.schema import NamedArrays


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
