"""From the setting `model` to a folder that holds a checkpoint, and that checkpoint's fingerprint.

Imports nothing heavier than NumPy, so that a node answers *hello* quickly.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

from models.bases.depth import bounds, layer_count, read_header, write_cut
from models.bases.variants import EMBEDDED, Variant
from models.errors import ModelError
from models.files import write_json, write_text

# Keys of config.json that say who saved the file or how it is used, not what the weights are.
_VOLATILE = frozenset(
    {
        "_name_or_path",
        "_commit_hash",
        "architectures",
        "dtype",
        "finetuning_task",
        "gradient_checkpointing",
        "id2label",
        "label2id",
        "num_labels",
        "problem_type",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
_CHUNK = 1 << 22
COMPANIONS = frozenset({".json", ".txt", ".model", ".jinja"})
"""Endings of what belongs to a checkpoint beside its weights: configuration, tokenizer, chats."""


def resolve_checkpoint(model: str, bases: Path, wanted: str = "") -> Path | None:
    """Find the folder of a checkpoint.

    Parameters
    ----------
    model : str
        An embedded base, such as ``tiny-vit`` (which has no place but `bases`),
        ``pkg:PACKAGE/PATH`` (weights inside an installed package), an absolute folder, or a
        Hugging Face name; ``@depth=N`` behind it takes the first N layers.
    bases : Path
        Where shipped and pretrained bases are kept, one folder a fingerprint.
    wanted : str, optional
        Fingerprint; a shipped base of that fingerprint goes before the name.

    Returns
    -------
    Path or None
        None where an embedded base is not on this machine yet.

    Raises
    ------
    ModelError
        A folder, package or name that does not exist; says what to do.
    """
    if wanted and (bases / wanted / "config.json").is_file():
        return bases / wanted
    variant = Variant.parse(model)
    if variant.embedded:
        return None
    folder = _named_folder(variant.model)
    return _cut(folder, variant, bases) if variant.depth else folder


def _named_folder(model: str) -> Path:
    if model.startswith("pkg:"):
        return _package_folder(model)
    if model.startswith(("/", "~", ".")) or Path(model).is_absolute():
        folder = Path(model).expanduser()
        if not folder.is_absolute():
            raise ModelError(f"model '{model}': paths are absolute; the app has another folder")
        if not (folder / "config.json").is_file():
            raise ModelError(f"model '{model}': no config.json in this folder")
        return folder
    return _hub_folder(model)


def _package_folder(model: str) -> Path:
    package, _, inside = model.removeprefix("pkg:").partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"model '{model}': no package '{package}' is installed here; "
            "write pkg:PACKAGE/PATH with the package's import name and pip install it on each node"
        )
    folder = Path(spec.submodule_search_locations[0]) / inside
    if not (folder / "config.json").is_file():
        raise ModelError(f"model '{model}': no config.json in '{inside}' of package '{package}'")
    return folder


def _hub_folder(model: str) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["*.safetensors", *(f"*{ending}" for ending in sorted(COMPANIONS))]
    try:
        return Path(snapshot_download(model, allow_patterns=patterns, local_files_only=True))
    except Exception:  # any failure to find it locally means: ask the Hub
        try:
            return Path(snapshot_download(model, allow_patterns=patterns))
        except Exception as error:
            raise ModelError(
                f"model '{model}' is neither in the local Hugging Face cache nor reachable "
                f"({type(error).__name__}). Known without network: {', '.join(EMBEDDED)}, an "
                "absolute folder, or 'pkg:PACKAGE/PATH' for weights inside an installed package"
            ) from None


def _cut(folder: Path, variant: Variant, bases: Path) -> Path:
    """Return the folder of a checkpoint's first layers, writing it at first use."""
    config = json.loads((folder / "config.json").read_text())
    key, count = layer_count(config, str(variant))
    if variant.depth == count:
        return folder
    files = weight_files(folder)
    note = bases / f"cut-{_identity([folder / 'config.json', *files])}-{variant.depth}.txt"
    if note.is_file() and (bases / note.read_text().strip() / "config.json").is_file():
        return bases / note.read_text().strip()
    fresh = bases / f".cut.{os.getpid()}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    write_cut(files, fresh, variant.depth, count, str(variant))
    for file in folder.iterdir():
        if file.suffix in COMPANIONS and "safetensors" not in file.name:
            shutil.copyfile(file, fresh / file.name)
    write_json(fresh / "config.json", {**config, key: variant.depth})
    found = fingerprint(fresh)
    install_folder(fresh, bases / found)
    write_text(note, found)
    return bases / found


def weight_files(folder: Path) -> list[Path]:
    """Return a checkpoint's safetensors files, in order; weights in pickles are refused."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(
            f"'{folder}' has no .safetensors file; convert the checkpoint first "
            "(pickled weights are never loaded)"
        )
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        named = set(json.loads(index.read_text())["weight_map"].values())
        files = [file for file in files if file.name in named]
    return files


def _tensors(file: Path) -> Iterator[tuple[str, str, int, int]]:
    """Yield (name, header text, first byte, last byte) of each tensor of a safetensors file."""
    header, start = read_header(file)
    for name in sorted(header):
        entry = header[name]
        begin, end = bounds(entry)
        yield name, f"{name}:{entry['dtype']}:{entry['shape']}", start + begin, start + end


def fingerprint(folder: Path, cache: Path | None = None) -> str:
    """Hash a checkpoint's own tensors and configuration.

    A freshly initialised head is not in the files and so not part of it. The result does not
    depend on how the tensors are spread over files or on the library version that saved them.

    Parameters
    ----------
    folder : Path
        With ``config.json`` and ``*.safetensors``.
    cache : Path, optional
        Folder for results, keyed by file identity (path, size, time), for large bases.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    files = weight_files(folder)
    key = _identity([folder / "config.json", *files])
    note = cache / f"{key}.json" if cache else None
    if note and note.is_file():
        return str(json.loads(note.read_text())["fingerprint"])
    config = json.loads((folder / "config.json").read_text())
    kept = {k: v for k, v in config.items() if k not in _VOLATILE}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode())
    tensors = sorted((name, text, f, a, b) for f in files for name, text, a, b in _tensors(f))
    for _, text, file, begin, end in tensors:
        digest.update(text.encode())
        with file.open("rb") as stream:
            stream.seek(begin)
            left = end - begin
            while left > 0:
                block = stream.read(min(_CHUNK, left))
                if not block:
                    raise ModelError(f"'{file}' ends early: damaged checkpoint")
                digest.update(block)
                left -= len(block)
    result = digest.hexdigest()[:16]
    if note:
        write_json(note, {"fingerprint": result, "folder": str(folder)})
    return result


def _identity(files: list[Path]) -> str:
    facts = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def companions(folder: Path) -> list[Path]:
    """Return what a checkpoint has for those who use it: tokenizer, chat template, generation."""
    own = {"config.json", "model.safetensors.index.json"}
    return sorted(f for f in folder.iterdir() if f.suffix in COMPANIONS and f.name not in own)


def pack_checkpoint(folder: Path) -> bytes:
    """Bundle a checkpoint's files into one byte string, for shipping it to a node."""
    names = sorted(f.name for f in folder.iterdir() if f.suffix in {".safetensors", *COMPANIONS})
    blobs = [(folder / name).read_bytes() for name in names]
    header = json.dumps([[n, len(b)] for n, b in zip(names, blobs, strict=True)]).encode()
    return struct.pack("<Q", len(header)) + header + b"".join(blobs)


def unpack_checkpoint(data: bytes, expected: str, bases: Path) -> Path:
    """Write a shipped checkpoint under `bases`; its fingerprint must be the expected one.

    Raises
    ------
    ModelError
        The bundle is damaged, names a path, or is another base than announced.
    """
    try:
        (length,) = struct.unpack("<Q", data[:8])
        listing = json.loads(data[8 : 8 + length])
        names = [(str(name), int(size)) for name, size in listing]
    except (struct.error, ValueError, TypeError) as error:
        raise ModelError(f"the shipped base is damaged: {type(error).__name__}") from None
    if any(Path(name).name != name or name.startswith(".") for name, _ in names):
        raise ModelError("the shipped base names a path outside its folder")
    target = bases / expected
    fresh = bases / f".{expected}.{os.getpid()}"
    fresh.mkdir(parents=True, exist_ok=True)
    start = 8 + length
    for name, size in names:
        (fresh / name).write_bytes(data[start : start + size])
        start += size
    found = fingerprint(fresh)
    if found != expected:
        raise ModelError(f"the shipped base has fingerprint {found}, announced as {expected}")
    install_folder(fresh, target)
    return target


def install_folder(fresh: Path, target: Path) -> None:
    """Move a finished folder to its place; the first to arrive wins, equal content assumed."""
    try:
        fresh.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        for file in fresh.iterdir():
            file.unlink()
        fresh.rmdir()
