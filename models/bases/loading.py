"""In which numbers a base is held: as in its checkpoint, in another type, or in 8 or 4 bits.

What is trained is float32 in any case; only the frozen weights, and the products with them, are in
these numbers. A quantised base is that of QLoRA (Dettmers et al. 2023): 4-bit NormalFloat with
quantised constants, computing in bfloat16.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from models.errors import ModelError

DTYPES = ("auto", "float32", "bfloat16", "float16")
BITS = (0, 4, 8)
# Heads are fresh and trained: quantised ones could not be.
_KEPT_WHOLE = ["lm_head", "classifier", "score", "classification_head", "fc", "head"]


@dataclass(frozen=True)
class Loading:
    """How a base is held in memory.

    Attributes
    ----------
    dtype : {"auto", "float32", "bfloat16", "float16"}
        ``auto``: as the checkpoint has it; bfloat16 where it is quantised.
    bits : {0, 4, 8}
        0 = not quantised.
    """

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    bits: Literal[0, 4, 8] = 0

    @classmethod
    def of(cls, options: Mapping[str, object]) -> Loading:
        """Read ``model-args`` that `loading_errors` found nothing wrong with."""
        given = {name: options[name] for name in ("dtype", "bits") if name in options}
        return cls(**given)  # type: ignore[arg-type]

    def keywords(self, device: str) -> dict[str, Any]:
        """Return what ``from_pretrained`` is to be told.

        Parameters
        ----------
        device : str
            Where the model will compute.

        Raises
        ------
        ModelError
            The base is to be quantised, and that cannot be done here.
        """
        if not self.bits:
            return {"dtype": self.dtype}
        self._check_here(device)
        from transformers import BitsAndBytesConfig

        computing = "bfloat16" if self.dtype == "auto" else self.dtype
        config = BitsAndBytesConfig(
            load_in_4bit=self.bits == 4,
            load_in_8bit=self.bits == 8,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=computing,
            llm_int8_skip_modules=_KEPT_WHOLE,
        )
        return {"quantization_config": config, "dtype": computing, "device_map": {"": device}}

    def _check_here(self, device: str) -> None:
        what = f"model-args: bits={self.bits}"
        if not device.startswith("cuda"):
            raise ModelError(
                f"{what} needs a CUDA GPU, and this machine computes on '{device}'; leave bits "
                "out, or take dtype='bfloat16' for half the memory"
            )
        if importlib.util.find_spec("bitsandbytes") is None:
            raise ModelError(
                f"{what} needs bitsandbytes, which is not installed here: "
                "pip install 'fedbouquet[quantised]' on the server and on each node"
            )


def loading_errors(options: Mapping[str, object]) -> list[str]:
    """Return one line for each wrong ``dtype`` or ``bits`` of ``model-args``."""
    errors = []
    dtype, bits = options.get("dtype", "auto"), options.get("bits", 0)
    if dtype not in DTYPES:
        errors.append(f"dtype = {dtype!r}: one of {', '.join(DTYPES)}")
    if isinstance(bits, bool) or bits not in BITS:
        errors.append(f"bits = {bits!r}: 4, 8, or 0 for a base that is not quantised")
    return errors
