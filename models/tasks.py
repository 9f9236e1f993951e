"""What a model is for: the kind of task decides the head, the loader and PEFT's task type."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from models.errors import ModelError

_UNBOUNDED = 1 << 30
Kind = Literal["image", "text", "table", "causal-lm"]


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
    labelled : bool
        Whether examples have labels, and the model a head for them.
    """

    auto_class: str
    input_name: str
    peft_type: str | None
    labelled: bool = True


TASKS: dict[Kind, Task] = {
    "image": Task("AutoModelForImageClassification", "pixel_values", None),
    "text": Task("AutoModelForSequenceClassification", "input_ids", "SEQ_CLS"),
    "table": Task("AutoModelForSequenceClassification", "input_ids", "SEQ_CLS"),
    "causal-lm": Task("AutoModelForCausalLM", "input_ids", "CAUSAL_LM", labelled=False),
}


@dataclass(frozen=True)
class LoadedBase:
    """A frozen base, and the modules that are trained whole: a head for the labels, if any."""

    module: Any
    fresh: tuple[str, ...]


def load_base(
    folder: Path,
    kind: Kind,
    labels: tuple[str, ...],
    seed: int,
    loading: Mapping[str, Any] = MappingProxyType({}),
) -> LoadedBase:
    """Load a checkpoint, with a classification head where the task has labels.

    What the checkpoint lacks of it is initialised from `seed`, the same everywhere.

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
            output_loading_info=True,
            local_files_only=True,
            **loading,
            **(_head_of(labels) if task.labelled else {}),
        )
    except (OSError, ValueError, KeyError) as error:
        what = f"{kind} classification" if task.labelled else kind
        raise ModelError(f"'{folder}' cannot be loaded for {what}: {error}") from error
    if not task.labelled:
        return _writing(module, info["missing_keys"], folder)
    mismatched = {key[0] if isinstance(key, tuple) else key for key in info["mismatched_keys"]}
    unset = {*info["missing_keys"], *mismatched}
    if getattr(module.config, "pad_token_id", None) is None and kind == "text":
        module.config.pad_token_id = getattr(module.config, "eos_token_id", 0) or 0
    module.requires_grad_(False)
    return LoadedBase(module, _modules_of(module, unset))


def _head_of(labels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {name: i for i, name in enumerate(labels)},
        "ignore_mismatched_sizes": True,
    }


def _writing(module: Any, missing: Collection[str], folder: Path) -> LoadedBase:
    """Freeze a causal language model, all of which the checkpoint must bring."""
    if missing:
        raise ModelError(
            f"'{folder}' is no causal language model: the checkpoint lacks "
            f"{', '.join(sorted(missing)[:3])}; name one that was trained to write text"
        )
    # A cache of keys and values is of use only where a text is written.
    for config in (module.config, module.config.get_text_config()):
        config.use_cache = False
    module.requires_grad_(False)
    return LoadedBase(module, ())


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


def positions_of(config: Mapping[str, Any]) -> int:
    """Return the most tokens that a language model reads at once, by its ``config.json``."""
    return _count(config, "max_position_embeddings", "n_positions")


def vocabulary_of(config: Mapping[str, Any]) -> int:
    """Return the number of tokens that a language model knows, by its ``config.json``."""
    return _count(config, "vocab_size")


def _count(config: Mapping[str, Any], *names: str) -> int:
    own = {**config, **dict(config.get("text_config") or {})}
    found = next((own[name] for name in names if name in own), None)
    return found if isinstance(found, int) and found > 0 else _UNBOUNDED
