"""Cutting a checkpoint to its first layers; the numbers that stay are the same bytes.

The files are read and written as bytes, so that neither torch nor the whole checkpoint in memory is
needed, and any dtype passes.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from models.errors import ModelError

_COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_LAYER = re.compile(r"^(.*?)\.(\d+)\.")
_LARGEST_HEADER = 100_000_000

Entry = Mapping[str, object]


def read_header(file: Path) -> tuple[dict[str, Entry], int]:
    """Return the tensors of a safetensors file by name, and where their bytes begin.

    Raises
    ------
    ModelError
        The file is none.
    """
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else _LARGEST_HEADER + 1
        if length > _LARGEST_HEADER:
            raise ModelError(f"'{file}' is no safetensors file: its header says {length} bytes")
        header = json.loads(stream.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length


def layer_count(config: Mapping[str, object], model: str) -> tuple[str, int]:
    """Return the key of a model's configuration that counts its layers, and the count.

    Raises
    ------
    ModelError
        It counts none under any known name.
    """
    for key in _COUNTS:
        count = config.get(key)
        if isinstance(count, int) and not isinstance(count, bool):
            return key, count
    raise ModelError(
        f"model '{model}' cannot be cut: its config.json has none of {', '.join(_COUNTS)}"
    )


def write_cut(files: Iterable[Path], folder: Path, depth: int, count: int, model: str) -> None:
    """Write a checkpoint's first layers.

    Parameters
    ----------
    files : iterable of Path
        Its safetensors files.
    folder : Path
        Gets ``model.safetensors``.
    depth, count : int
        Layers that stay, and that there are.
    model : str
        For messages.

    Raises
    ------
    ModelError
        Not as many layers, or no list of so many in the tensors' names.
    """
    if not 1 <= depth <= count:
        raise ModelError(f"model '{model}': depth={depth}, and the checkpoint has {count} layers")
    found = {file: read_header(file) for file in files}
    stack = _stack({name for header, _ in found.values() for name in header}, count, model)
    kept = sorted(
        (name, file, entry)
        for file, (header, _) in found.items()
        for name, entry in header.items()
        if not _beyond(name, stack, depth)
    )
    place, header = 0, {}
    for name, _, entry in kept:
        begin, end = bounds(entry)
        header[name] = {**entry, "data_offsets": [place, place + end - begin]}
        place += end - begin
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    text += b" " * (-len(text) % 8)
    with (folder / "model.safetensors").open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, file, entry in kept:
            begin, end = bounds(entry)
            with file.open("rb") as stream:
                stream.seek(found[file][1] + begin)
                out.write(stream.read(end - begin))


def _stack(names: Iterable[str], count: int, model: str) -> str:
    """Return what the names of a list of `count` layers begin with."""
    numbers: dict[str, set[int]] = {}
    for name in names:
        match = _LAYER.match(name)
        if match:
            numbers.setdefault(match[1], set()).add(int(match[2]))
    stacks = sorted(prefix for prefix, found in numbers.items() if found == set(range(count)))
    if len(stacks) != 1:
        listed = ", ".join(f"'{p}' ({len(n)})" for p, n in sorted(numbers.items())) or "none"
        raise ModelError(
            f"model '{model}' cannot be cut: not one list of {count} layers; found: {listed}"
        )
    return stacks[0]


def _beyond(name: str, stack: str, depth: int) -> bool:
    match = _LAYER.match(name)
    return match is not None and match[1] == stack and int(match[2]) >= depth


def bounds(entry: Entry) -> tuple[int, int]:
    """Return where a tensor's bytes begin and end, counted from the first tensor's."""
    offsets = entry["data_offsets"]
    if not isinstance(offsets, list) or len(offsets) != 2:
        raise ModelError("a tensor of the checkpoint has no place in its file")
    return int(offsets[0]), int(offsets[1])
