"""``bouquet export``: a FairLoRA adapter for one group or a mixture, as an ordinary LoRA."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from rich.console import Console

from models.errors import ModelError
from models.fairlora.exported import as_lora, mixture_of
from models.files import adapter_folder, read_adapter, write_adapter
from models.schema import NamedArrays


def export_group(run: Path, wanted: Sequence[str], out: Path | None, console: Console) -> Path:
    """Write the adapter that some group's samples meet, in a form that PEFT alone loads.

    Parameters
    ----------
    run : Path
        A run directory, or an adapter folder.
    wanted : sequence of str
        Which group or mixture; see `models.fairlora.exported.mixture_of`.
    out : Path or None
        Where it goes; None: ``adapter-<group>`` beside the adapter.
    console : Console
        Says what was written.

    Returns
    -------
    Path
        The folder that was written.

    Raises
    ------
    ModelError
        There is no FairLoRA adapter.
    ConfigurationError
        A group that it does not have.
    """
    folder = adapter_folder(run)
    arrays, config = read_adapter(folder)
    if config.get("peft_type") != "FAIRLORA":
        raise ModelError(
            f"'{folder}' is a {config.get('peft_type')} adapter, the same for every group; only "
            "adapter='fairlora' has groups to choose from (--merge makes one whole model of it)"
        )
    names, own = [str(name) for name in cast("list[str]", config["groups"])], config["own"]
    pi, name = mixture_of(wanted, names, cast("float", own))
    lora, settings = as_lora(NamedArrays.of(arrays), config, pi)
    plain = re.sub(r"[^\w.-]+", "_", name)
    target = out or folder.parent / f"adapter-{plain}"
    shares = ", ".join(f"{group} {share:.3g}" for group, share in zip(names, pi, strict=False))
    write_adapter(target, lora, settings, f"LoRA out of FairLoRA, for {name}: {shares}.\n")
    console.print(f"{name}: {shares}\n{target}", markup=False, highlight=False, soft_wrap=True)
    return target
