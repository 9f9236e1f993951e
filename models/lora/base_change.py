"""Changes of the frozen base, for methods that merge what was learned into it.

The base at version v is W0 + D_1 + ... + D_v, always computed from W0 in float32 and never by
adding to what is there, so that everybody has the same bits whichever versions it saw. Each D is
kept in a file of its own: for every layer the factors of a product, or the matrix where that is
the smaller of the two. The server keeps them in its run directory, a node under its state folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load, save

from models.errors import ClientError
from models.files import write_bytes

if TYPE_CHECKING:
    import torch

Float32 = npt.NDArray[np.float32]
LayerChange = tuple[Float32, Float32] | Float32
"""B of shape (out, rank) and A of shape (rank, in), the change being B A; or the change itself."""

Change = Mapping[str, LayerChange]
"""By layer, as PEFT's keys name it."""


def encoded(change: Change) -> bytes:
    """Write a change as bytes (safetensors)."""
    arrays: dict[str, Float32] = {}
    for layer, part in change.items():
        if isinstance(part, tuple):
            arrays[f"{layer}/B"], arrays[f"{layer}/A"] = part
        else:
            arrays[f"{layer}/W"] = part
    return bytes(save({k: np.ascontiguousarray(v, np.float32) for k, v in arrays.items()}))


def decoded(data: bytes) -> dict[str, LayerChange]:
    """Read `encoded`'s bytes back."""
    arrays = load(data)
    change: dict[str, LayerChange] = {}
    for key, array in arrays.items():
        layer, _, letter = key.rpartition("/")
        if letter == "W":
            change[layer] = array
        elif letter == "B":
            change[layer] = (array, arrays[f"{layer}/A"])
    return change


def matrix(part: LayerChange) -> Float32:
    """Return the change of one layer as a matrix, shape (out, in), float32."""
    return part[0] @ part[1] if isinstance(part, tuple) else part


class BaseChanges:
    """The changes of one run, a file each, numbered from 1.

    Parameters
    ----------
    folder : Path
        Made at the first write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, version: int, data: bytes) -> None:
        """Keep `encoded`'s bytes as one version; writing it again replaces it."""
        write_bytes(self._path(version), data)

    def read(self, version: int) -> bytes:
        """Return one version's bytes.

        Raises
        ------
        ClientError
            ``unprepared``: it is not here.
        """
        path = self._path(version)
        if not path.is_file():
            raise ClientError("unprepared", f"change {version} of the base is not here")
        return path.read_bytes()

    def up_to(self, version: int) -> Iterable[Mapping[str, LayerChange]]:
        """Yield the changes 1 to `version`, one at a time."""
        for number in range(1, version + 1):
            yield decoded(self.read(number))

    def forget_after(self, version: int) -> None:
        """Remove later versions, which a run that went back will write anew."""
        for path in self._folder.glob("change-*.safetensors"):
            if int(path.stem.removeprefix("change-")) > version:
                path.unlink(missing_ok=True)

    def _path(self, version: int) -> Path:
        return self._folder / f"change-{version:06d}.safetensors"


class ChangingBase:
    """The adapted layers of a model, whose base weights can be put to a version.

    Parameters
    ----------
    module : torch.nn.Module
        A PEFT model.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self._original: dict[str, torch.Tensor] = {}
        self.version: tuple[str, int] = ("", 0)

    def put_to(self, run: str, version: int, changes: BaseChanges) -> None:
        """Make the base that of a version; nothing is done where it is already.

        Parameters
        ----------
        run : str
            Whose changes they are.
        version : int
            0 is the base as it was loaded.
        changes : BaseChanges

        Raises
        ------
        ClientError
            ``unprepared`` for a change that is not here, ``base`` for one that does not fit.
        """
        if version == 0 and not self._original:
            return
        if self.version == (run, version):
            return
        import torch

        totals: dict[str, torch.Tensor] = {}
        for change in changes.up_to(version):
            for layer, part in change.items():
                added = torch.from_numpy(matrix(part))
                totals[layer] = totals[layer].add_(added) if layer in totals else added
        with torch.no_grad():
            for layer in {*totals, *self._original}:
                self._set(layer, totals.get(layer))
        self.version = (run, version)

    def _set(self, layer: str, total: torch.Tensor | None) -> None:
        found = self._layer(layer)
        weight = found.weight
        original = self._original.setdefault(layer, weight.detach().clone())
        if total is None:
            weight.copy_(original)
            return
        if not weight.is_floating_point():
            raise ClientError("base", f"'{layer}' is quantised: its base cannot be changed")
        if total.numel() != weight.numel():
            raise ClientError("base", f"a change of {tuple(total.shape)} does not fit '{layer}'")
        turned = total.T if _transposed(found) else total
        sum_ = original.float() + turned.reshape(weight.shape).to(weight.device)
        weight.copy_(sum_.to(weight.dtype))

    def _layer(self, layer: str) -> Any:
        try:
            found: Any = self._module.get_submodule(layer)
        except AttributeError:
            raise ClientError("base", f"the base has no layer '{layer}'") from None
        return found.get_base_layer()


def _transposed(layer: object) -> bool:
    """Say whether a layer keeps its weight as (in, out): GPT-2's Conv1D, embeddings."""
    import torch

    return type(layer).__name__ == "Conv1D" or isinstance(layer, torch.nn.Embedding)
