"""The options of a base model: what ``model-args`` may hold."""

from __future__ import annotations

from collections.abc import Mapping

from models.bases.loading import loading_errors
from models.errors import nearest

MODEL_ARGS = {
    "max-length": "longest text in tokens; longer ones are cut (default 128)",
    "dtype": "numbers of the frozen base: float32, bfloat16, float16; auto = the checkpoint's",
    "bits": "4 or 8: quantise the frozen base, on a CUDA GPU; 0 = no",
    "feature-dim": "length of the features, by a trained layer before the head; 0 = the model's",
}


def model_arg_errors(options: Mapping[str, object]) -> list[str]:
    """Return one line for each wrong entry of ``model-args``."""
    errors = [
        f"unknown option '{name}': {nearest(name, [*MODEL_ARGS, 'variants'])}"
        for name in options
        if name not in MODEL_ARGS
    ]
    length = options.get("max-length", 128)
    if isinstance(length, bool) or not isinstance(length, int) or not 1 <= length <= 1_000_000:
        errors.append(f"max-length = {length!r}: a whole number of tokens, at least 1")
    features = options.get("feature-dim", 0)
    if isinstance(features, bool) or not isinstance(features, int) or not 0 <= features <= 65_536:
        errors.append(f"feature-dim = {features!r}: a whole number from 0 to 65,536")
    return errors + loading_errors(options)


def feature_dim(options: Mapping[str, object]) -> int:
    """Return the length that features are brought to; 0 = the model's own."""
    return int(str(options.get("feature-dim", 0)))
