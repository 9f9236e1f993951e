"""``bouquet squeeze``: a finished run's adapter at a lower rank."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from models.errors import ModelError
from models.files import adapter_folder, read_adapter, write_adapter
from models.lora.factors import rank_of, require_products, with_rank
from models.lora.merged import peft_settings
from models.schema import Fact, NamedArrays
from strategies.aggregation.lora.error import aggregation_error
from strategies.aggregation.lora.product import deltas_of
from strategies.aggregation.lora.squeeze import squeezed


def squeeze_adapter(run: Path, rank: int, out: Path | None, console: Console) -> Path:
    """Cut an adapter to its best approximation of a lower rank and write it beside the old one.

    Parameters
    ----------
    run : Path
        A run directory, or an adapter folder.
    rank : int
        At least 1, below the adapter's own.
    out : Path or None
        Where it goes; None: ``adapter-rank-<rank>`` beside the adapter.
    console : Console
        Says how far the result is from the original.

    Returns
    -------
    Path
        The folder that was written.

    Raises
    ------
    ModelError
        There is no LoRA adapter, or the rank is not below its own.
    """
    folder = adapter_folder(run)
    arrays, config = read_lora(folder)
    require_products(arrays.schema)
    if not 1 <= rank < rank_of(arrays.schema):
        raise ModelError(
            f"--rank {rank}: the adapter in '{folder}' has rank {rank_of(arrays.schema)}; "
            f"give 1 to {rank_of(arrays.schema) - 1}"
        )
    smaller = squeezed(arrays, with_rank(arrays.schema, rank))
    error = aggregation_error(deltas_of(arrays).items(), deltas_of(smaller))
    target = out or folder.parent / f"adapter-rank-{rank}"
    card = f"Cut from rank {rank_of(arrays.schema)} to {rank}: relative error {error.total:.3g}.\n"
    write_adapter(target, smaller, config | peft_settings(smaller.schema.facts), card)
    before, after = (a.vector.nbytes for a in (arrays, smaller))
    console.print(
        f"rank {rank_of(arrays.schema)} -> {rank}: {before:,} -> {after:,} bytes, "
        f"relative error of the product {error.total:.4f}\n{target}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return target


def read_lora(folder: Path) -> tuple[NamedArrays, dict[str, object]]:
    """Read a LoRA adapter folder of PEFT's.

    Raises
    ------
    ModelError
        It is none, or its layers have ranks of their own.
    """
    arrays, config = read_adapter(folder)
    if config.get("peft_type") != "LORA" or config.get("rank_pattern"):
        raise ModelError(f"'{folder}' is no LoRA adapter of one rank")
    rank, alpha = int(str(config["r"])), float(str(config["lora_alpha"]))
    rslora = bool(config.get("use_rslora"))
    facts: dict[str, Fact] = {
        "kind": "lora",
        "rank": rank,
        "alpha": alpha,
        "scaling": alpha / (rank**0.5 if rslora else rank),
        "rslora": rslora,
        "dora": bool(config.get("use_dora")),
    }
    return NamedArrays.of(arrays, facts), config
