"""FairLoRA for one group, or for a mixture, as an ordinary LoRA adapter.

With s = sum_g pi_g S_g fixed, U diag(s) V is a product of two factors: LoRA's A is (U diag(s))^T
and its B is V^T, at the same rank and alpha.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from models.errors import ConfigurationError, nearest
from models.schema import NamedArrays


def mixture_of(
    wanted: Sequence[str], names: Sequence[str], own: float
) -> tuple[npt.NDArray[np.float64], str]:
    """Read which mixture of groups is wanted.

    Parameters
    ----------
    wanted : sequence of str
        Nothing: all groups alike. One name: as the model treats that group, with `own` for it and
        the rest for the others. ``NAME=WEIGHT``, one or several: these weights, made to sum to 1.
    names : sequence of str
        The adapter's groups.
    own : float
        pi of a sample's own group.

    Returns
    -------
    ndarray, shape (groups,)
        pi.
    str
        What it is called.

    Raises
    ------
    ConfigurationError
        A name that is no group, or weights that are none.
    """
    count = max(1, len(names))
    if not wanted:
        return np.full(count, 1.0 / count), "all groups alike"
    pi = np.zeros(count)
    if len(wanted) == 1 and wanted[0] in names:
        pi[:] = (1.0 - own) / max(1, count - 1)
        pi[names.index(wanted[0])] = own if count > 1 else 1.0
        return pi, wanted[0]
    for text in wanted:
        name, _, weight = text.rpartition("=")
        if name not in names:
            raise ConfigurationError(
                f"--group {text}: {nearest(name or text, names)}; give one NAME, or NAME=WEIGHT "
                "for each group that counts"
            )
        try:
            pi[names.index(name)] = float(weight)
        except ValueError:
            raise ConfigurationError(f"--group {text}: '{weight}' is no number") from None
    if not np.isfinite(pi).all() or pi.min() < 0 or pi.sum() <= 0:
        raise ConfigurationError(f"--group {', '.join(wanted)}: weights of at least 0, one above")
    return pi / pi.sum(), ", ".join(wanted)


def as_lora(
    arrays: NamedArrays, config: Mapping[str, object], pi: npt.NDArray[np.float64]
) -> tuple[NamedArrays, dict[str, object]]:
    """Return the LoRA adapter that a FairLoRA adapter is for one mixture of groups.

    Parameters
    ----------
    arrays : NamedArrays
        Keys as in PEFT's ``adapter_model.safetensors``.
    config : mapping
        Content of its ``adapter_config.json``.
    pi : ndarray, shape (groups,)

    Returns
    -------
    NamedArrays
    dict
        Content of the new ``adapter_config.json``.
    """
    from peft import LoraConfig

    made: dict[str, npt.NDArray[np.floating]] = {}
    for key in arrays:
        layer, _, letter = key.rpartition(".fairlora_")
        if letter == "U":
            u, s = (arrays[f"{layer}.fairlora_{x}"].astype(np.float64) for x in "US")
            made[f"{layer}.lora_A.weight"] = (u * (pi @ s)).T.astype(np.float32)
        elif letter == "V":
            made[f"{layer}.lora_B.weight"] = arrays[key].T.astype(np.float32)
        elif letter != "S":
            made[key] = arrays[key]
    alpha = float(str(config["alpha"]))
    lora = LoraConfig(
        r=int(str(config["r"])),
        lora_alpha=int(alpha) if alpha.is_integer() else alpha,
        target_modules=config["target_modules"],
        modules_to_save=config["modules_to_save"],
        task_type=config["task_type"],
        base_model_name_or_path=config["base_model_name_or_path"],
        inference_mode=True,
    )
    return NamedArrays.of(made), dict(json.loads(json.dumps(lora.to_dict(), default=sorted)))
