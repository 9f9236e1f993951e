"""What a model is for: the kind of data decides the head, the loader and PEFT's task type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from models.errors import ModelError

Kind = Literal["image", "text", "table"]


@dataclass(frozen=True)
class Task:
    """One kind of task.

    Attributes
    ----------
    auto_class : str
        Name of the transformers class that loads a base with the task's head.
    input_name : str
        Argument under which the model takes its main input.
    peft_type : str or None
        PEFT's ``task_type``; None where PEFT has none for it.
    """

    auto_class: str
    input_name: str
    peft_type: str | None


TASKS: dict[Kind, Task] = {
    "image": Task("AutoModelForImageClassification", "pixel_values", None),
    "text": Task("AutoModelForSequenceClassification", "input_ids", "SEQ_CLS"),
    "table": Task("AutoModelForSequenceClassification", "input_ids", "SEQ_CLS"),
}


@dataclass(frozen=True)
class LoadedBase:
    """A frozen base with a head for the labels, and the modules the checkpoint did not bring."""

    module: Any
    fresh: tuple[str, ...]


def load_base(
    folder: Path,
    kind: Kind,
    labels: tuple[str, ...],
    seed: int,
    loading: Mapping[str, Any] = MappingProxyType({}),
) -> LoadedBase:
    """Load a checkpoint with a classification head.

    What the checkpoint lacks (the head, at least) is initialised from `seed`, the same everywhere.

    Parameters
    ----------
    folder : Path
    kind : Kind
    labels : tuple of str
    seed : int
    loading : mapping
        Of `models.bases.loading.Loading.keywords`.

    Raises
    ------
    ModelError
        The checkpoint cannot be loaded for this kind of task.
    """
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    task = TASKS[kind]
    loader = getattr(transformers, task.auto_class)
    torch.manual_seed(seed)
    try:
        module, info = loader.from_pretrained(
            folder,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={name: i for i, name in enumerate(labels)},
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            local_files_only=True,
            **loading,
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"'{folder}' cannot be loaded for {kind} classification: {error}"
        ) from error
    mismatched = {key[0] if isinstance(key, tuple) else key for key in info["mismatched_keys"]}
    unset = {*info["missing_keys"], *mismatched}
    if getattr(module.config, "pad_token_id", None) is None and kind == "text":
        module.config.pad_token_id = getattr(module.config, "eos_token_id", 0) or 0
    module.requires_grad_(False)
    return LoadedBase(module, _modules_of(module, unset))


def _modules_of(module: Any, keys: set[str]) -> tuple[str, ...]:
    """Return the names of the leaf modules that hold `keys`, the head always among them."""
    names = {key.rpartition(".")[0] for key in keys}
    if not names:
        # A checkpoint of the same task brings its head; it is trained all the same.
        names = {
            name
            for name in ("classifier", "score", "classification_head", "fc", "head")
            if hasattr(module, name)
        }
        names = {
            f"{name}.{leaf}".rstrip(".")
            for name in names
            for leaf, child in getattr(module, name).named_modules()
            if not list(child.children()) and list(child.parameters())
        }
    if not names:
        raise ModelError(f"no classification head found in {type(module).__name__}")
    return tuple(sorted(names))


def read_config(folder: Path) -> dict[str, Any]:
    """Read a checkpoint's ``config.json``."""
    return dict(json.loads((folder / "config.json").read_text()))
