"""Token rows ready to be batched: padded, or several texts packed into one row.

A batch holds the target of each place beside the model's inputs: the token that comes next, or
`IGNORED`. Packed texts begin at position 0 each, by which the model keeps them apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from clients.language.encoding import Tokens
from clients.preparation import IGNORED, TARGETS, Batch, Inputs

Rows = npt.NDArray[np.int64]


class TokenInputs(Inputs):
    """Texts as rows of tokens, padded to the longest of a batch.

    Parameters
    ----------
    texts : sequence of Tokens
    rows : ndarray, shape (texts,)
        Which of the holder's examples they are.
    padding : int
        Token number of what is filled up.
    """

    def __init__(self, texts: Sequence[Tokens], rows: Rows, padding: int) -> None:
        self._texts = list(texts)
        self.rows = rows
        self._padding = padding

    def __len__(self) -> int:
        return len(self._texts)

    def mass(self, rows: Rows) -> int:
        return sum(self._texts[i].targets for i in rows)

    def length(self, rows: Rows) -> int:
        return max((len(self._texts[i]) for i in rows), default=0)

    def batch(self, rows: Rows, device: torch.device) -> Batch:
        chosen = [self._texts[i] for i in rows]
        shape = (len(chosen), max(len(text) for text in chosen))
        ids = np.full(shape, self._padding)
        mask, targets = np.zeros(shape, np.int64), np.full(shape, IGNORED)
        for row, text in enumerate(chosen):
            ids[row, : len(text)], mask[row, : len(text)] = text.ids, 1
            _aim(targets[row], text, 0)
        found = {"input_ids": ids, "attention_mask": mask, TARGETS: targets}
        return {name: torch.from_numpy(values).to(device) for name, values in found.items()}

    def joined(self, other: Inputs) -> TokenInputs:
        assert isinstance(other, TokenInputs)
        rows = np.concatenate([self.rows, other.rows])
        return TokenInputs([*self._texts, *other._texts], rows, self._padding)


class PackedInputs(Inputs):
    """Several texts a row, in order, each row as full as the next text leaves it.

    Parameters
    ----------
    texts : sequence of Tokens
    rows : ndarray, shape (texts,)
        Which of the holder's examples they are.
    kinds : sequence
        Of each text; only texts of one kind share a row, such as those of one group.
    width : int
        Longest row, in tokens; no text is longer.
    padding : int
    """

    def __init__(
        self,
        texts: Sequence[Tokens],
        rows: Rows,
        kinds: Sequence[object],
        width: int,
        padding: int,
    ) -> None:
        self._texts = list(texts)
        self._padding = padding
        self._packs: list[list[int]] = []
        open_packs: dict[object, tuple[list[int], int]] = {}
        for number, (text, kind) in enumerate(zip(texts, kinds, strict=True)):
            pack, taken = open_packs.get(kind, ([], width))
            if taken + len(text) > width:
                pack, taken = [], 0
                self._packs.append(pack)
            pack.append(number)
            open_packs[kind] = (pack, taken + len(text))
        self.rows = np.asarray([rows[pack[0]] for pack in self._packs], np.int64)

    def __len__(self) -> int:
        return len(self._packs)

    @property
    def examples(self) -> int:
        return len(self._texts)

    def mass(self, rows: Rows) -> int:
        return sum(self._texts[i].targets for row in rows for i in self._packs[row])

    def length(self, rows: Rows) -> int:
        return max((sum(len(self._texts[i]) for i in self._packs[row]) for row in rows), default=0)

    def batch(self, rows: Rows, device: torch.device) -> Batch:
        shape = (len(rows), self.length(rows))
        ids, targets = np.full(shape, self._padding), np.full(shape, IGNORED)
        # What is left of a row is one more text, of which nothing is learned.
        places = np.zeros(shape, np.int64)
        for row, pack in enumerate(rows):
            start = 0
            for text in (self._texts[i] for i in self._packs[pack]):
                stop = start + len(text)
                ids[row, start:stop], places[row, start:stop] = text.ids, np.arange(len(text))
                _aim(targets[row], text, start)
                start = stop
            places[row, start:] = np.arange(shape[1] - start)
        found = {"input_ids": ids, "position_ids": places, TARGETS: targets}
        return {name: torch.from_numpy(values).to(device) for name, values in found.items()}


def _aim(targets: Rows, text: Tokens, start: int) -> None:
    """Write the next token of a text at each place from `start`, where it is learned."""
    stop = start + len(text) - 1
    targets[start:stop] = np.where(text.learned[1:], text.ids[1:], IGNORED)
