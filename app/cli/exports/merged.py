"""``bouquet export --merge``: base and adapter as one plain checkpoint."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from models.checkpoint import companions, resolve_checkpoint
from models.errors import ModelError
from models.files import no_adapter, state_folder
from models.lora.targets import untie
from models.tasks import TASKS, Kind

_SHARD = "5GB"


def export_merged(run: Path, out: Path | None, console: Console) -> Path:
    """Write the model that base and adapter make together; transformers alone loads it.

    It is added up in float32 and rounded once, to the type that the base's checkpoint has.

    Parameters
    ----------
    run : Path
        A run directory, or an adapter folder.
    out : Path or None
        Where it goes; None: ``merged`` beside the adapter.
    console : Console
        Says what was written.

    Returns
    -------
    Path
        The folder that was written: configuration, weights, tokenizer, chat template and
        generation settings.

    Raises
    ------
    ModelError
        There is no adapter, its kind cannot be merged, its base is not to be had, or the folder
        exists.
    """
    folder = run / "adapter" if (run / "adapter").is_dir() else run
    try:
        config = dict(json.loads((folder / "adapter_config.json").read_text()))
    except (OSError, ValueError) as error:
        raise no_adapter(folder, error) from None
    if config.get("peft_type") == "FAIRLORA":
        raise ModelError(
            f"'{folder}' treats each group in its own way, and a merged model all alike; choose "
            "one: bouquet export RUN --group NAME --merge"
        )
    target = out or folder.parent / "merged"
    if target.exists():
        raise ModelError(f"'{target}' exists already; remove it, or choose another with --out")
    base = _base_of(config, folder)
    module, dtype = _loaded(base, _kind_of(config), _labels_of(folder))
    untie(module, cast("list[str]", config.get("target_modules") or []))
    merged = _merged(module, folder).to(dtype)
    fresh = target.with_name(f".{target.name}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    merged.save_pretrained(fresh, max_shard_size=_SHARD)
    for file in companions(base):
        shutil.copyfile(file, fresh / file.name)
    fresh.rename(target)
    size = sum(p.numel() for p in merged.parameters())
    console.print(
        f"{size:,} weights in {str(dtype).removeprefix('torch.')}\n{target}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return target


def _base_of(config: dict[str, object], folder: Path) -> Path:
    """Return the base's folder; one that moved along with the run directory is found there."""
    named = str(config.get("base_model_name_or_path") or "")
    beside = next((p / "base" for p in folder.parents if (p / "base/config.json").is_file()), None)
    if beside is not None and Path(named).name == "base" and not Path(named).is_dir():
        return beside
    found = resolve_checkpoint(named, state_folder() / "bases")
    if found is None:
        raise ModelError(f"the base '{named}' of the adapter in '{folder}' is not on this machine")
    return found


def _kind_of(config: dict[str, object]) -> Kind:
    by_type = {task.peft_type: kind for kind, task in TASKS.items()}
    found = by_type.get(config.get("task_type"))  # type: ignore[call-overload]
    if found is None:
        raise ModelError(f"an adapter for {config.get('task_type')} cannot be merged here")
    kind: Kind = found
    return kind


def _labels_of(folder: Path) -> list[str]:
    """Return the run's labels in order; empty where there are none, or the run is not at hand."""
    for parent in folder.parents:
        if (parent / "labels.json").is_file():
            return list(json.loads((parent / "labels.json").read_text())["labels"])
    return []


def _loaded(base: Path, kind: Kind, labels: list[str]) -> tuple[Any, Any]:
    """Return the base in float32 with a head for the labels, and the type of its checkpoint."""
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    head: dict[str, Any] = {}
    if labels:
        head = {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {name: number for number, name in enumerate(labels)},
            "ignore_mismatched_sizes": True,
        }
    loader = getattr(transformers, TASKS[kind].auto_class)
    try:
        module = loader.from_pretrained(base, dtype="auto", local_files_only=True, **head)
    except (OSError, ValueError) as error:
        raise ModelError(f"'{base}' cannot be loaded: {error}") from error
    dtype = next(p.dtype for p in module.parameters() if p.is_floating_point())
    return module.to(torch.float32), dtype


def _merged(module: Any, folder: Path) -> Any:
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return PeftModel.from_pretrained(module, folder).merge_and_unload(safe_merge=True)
    except (ValueError, RuntimeError, AttributeError) as error:
        raise ModelError(f"the adapter in '{folder}' does not merge: {error}") from error
