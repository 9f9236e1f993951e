"""Tables and the rows of them that a client holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clients.data.columns import Columns
from clients.data.holdout import Rows
from clients.data.labels import order_labels
from models.errors import DataError, nearest

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True, eq=False)
class Table:
    """A whole split of a data set, shared by all clients that hold rows of it.

    Attributes
    ----------
    dataset : datasets.Dataset
        The rows; images decode to PIL.
    columns : Columns
        Which column is what.
    key : str
        Stable identity of the content, equal in every process that reads the same data: what a
        cache of decoded or tokenised inputs is keyed by.
    label_codes : array of int32, shape (rows,)
        Position in ``label_names`` of each row's label.
    label_names : tuple of str
        The names that occur; none where rows have no labels, and all codes are 0.
    groups : mapping of str to array of str, shape (rows,)
        Group of each row, by group column.
    """

    dataset: datasets.Dataset
    columns: Columns
    key: str
    label_codes: NDArray[np.int32]
    label_names: tuple[str, ...]
    groups: Mapping[str, NDArray[np.str_]]

    def __len__(self) -> int:
        return len(self.label_codes)


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows of one table, as one holder sees them.

    Attributes
    ----------
    table : Table
        Where the rows lie.
    indices : array of int64, shape (examples,)
        Row numbers in the table.
    owner : str
        Whose they are, for messages: a client id or ``"the server's test set"``.
    rotation : int
        Quarter turns, counter-clockwise, 0 to 3, that this holder's images are rotated by.
    relabel : mapping of str to str or None
        This holder's own name for each label name; None means unchanged.
    relabelled : array of bool, shape (examples,), or None
        Rows that `relabel` is for; None means all.
    angle : int
        Degrees beyond the quarter turns, 0 to 89; pixels are interpolated then.
    """

    table: Table
    indices: Rows
    owner: str
    rotation: int = 0
    relabel: Mapping[str, str] | None = field(default=None)
    relabelled: NDArray[np.bool_] | None = None
    angle: int = 0

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def columns(self) -> Columns:
        """The table's columns."""
        return self.table.columns

    def inputs(self, rows: Sequence[int] | Rows | slice = slice(None)) -> list[Any]:
        """Return the inputs of some of the rows, as this holder sees them.

        Parameters
        ----------
        rows : sequence of int or slice
            Positions among these examples, in [0, len); all by default.

        Returns
        -------
        list of PIL.Image.Image or list of str
            Images are rotated as `rotation` and `angle` say.
        """
        chosen = self.indices[rows if isinstance(rows, slice) else np.asarray(rows, np.int64)]
        column = self.table.columns.input
        values: list[Any] = self.table.dataset.select_columns([column])[chosen.tolist()][column]
        if (self.rotation or self.angle) and self.table.columns.kind == "image":
            return [rotated(image, self.rotation, self.angle) for image in values]
        return values

    def cells(self, names: Sequence[str]) -> dict[str, list[Any]]:
        """Return columns of a table, a value for each of these rows.

        Raises
        ------
        DataError
            The table lacks one of them; names owner and column.
        """
        for name in names:
            if name not in self.table.dataset.column_names:
                raise DataError(
                    f"{self.owner}: no column '{name}', which the base model reads; "
                    f"{nearest(name, self.table.dataset.column_names)}. Add it, empty where it is "
                    "not known, or pretrain a base without it: table-columns"
                )
        rows = self.table.dataset.select_columns(list(names))[self.indices.tolist()]
        return {name: rows[name] for name in names}

    def chosen(self, rows: Rows) -> Examples:
        """Return some of these examples, by their positions among them, as the same holder's."""
        relabelled = None if self.relabelled is None else self.relabelled[rows]
        return replace(self, indices=self.indices[rows], relabelled=relabelled)

    def label_names_of_rows(self) -> list[str]:
        """Return the label name of each row."""
        names, codes = self._seen()
        return [names[code] for code in codes]

    def label_ids(self, label_names: Sequence[str]) -> NDArray[np.int64]:
        """Return each row's label as a position in the model's label names, shape (examples,).

        Raises
        ------
        DataError
            If a row has a label that is not among them; names owner and label.
        """
        position = {name: number for number, name in enumerate(label_names)}
        seen, codes = self._seen()
        lookup = np.asarray([position.get(name, -1) for name in seen], dtype=np.int64)
        ids: NDArray[np.int64] = lookup[codes] if len(codes) else np.zeros(0, np.int64)
        unknown = np.unique(codes[ids < 0])
        if len(unknown):
            name = seen[unknown[0]]
            rows = int(np.count_nonzero(ids < 0))
            raise DataError(
                f"{self.owner}: label '{name}' in column '{self.columns.label}' is unknown to the "
                f"model ({rows} of {len(codes)} rows have such a label); "
                f"{nearest(name, label_names)}. Add it to labels, or remove those rows"
            )
        return ids

    def label_counts(self) -> dict[str, int]:
        """Return how many rows have each label name that occurs, in label order."""
        if not self.table.label_names:
            return {}
        seen, codes = self._seen()
        counts = np.bincount(codes, minlength=len(seen))
        found: dict[str, int] = {}
        for code in np.flatnonzero(counts):
            found[seen[code]] = found.get(seen[code], 0) + int(counts[code])
        return {name: found[name] for name in order_labels(found)}

    def group_values(self) -> dict[str, list[str]]:
        """Return the group of each row, by group column."""
        return {
            column: values[self.indices].tolist() for column, values in self.table.groups.items()
        }

    def _seen(self) -> tuple[list[str], NDArray[np.int32]]:
        """Return label names and each row's position among them, as this holder sees them."""
        names, codes = list(self.table.label_names), self.table.label_codes[self.indices]
        if self.relabel is None:
            return names, codes
        own = [self.relabel.get(name, name) for name in names]
        if self.relabelled is None:
            return own, codes
        return names + own, codes + np.int32(len(names)) * self.relabelled


@dataclass(frozen=True, eq=False)
class ClientData:
    """One client's data.

    Attributes
    ----------
    client_id : str
        Stable id.
    train, test : Examples
        Disjoint parts.
    concept : int or None
        Group of a concept shift that the client belongs to; None without a shift.
    """

    client_id: str
    train: Examples
    test: Examples
    concept: int | None = None


def rotated(image: Any, quarter_turns: int, angle: int = 0) -> Any:
    """Return a PIL image turned counter-clockwise.

    Quarter turns move pixels; an angle beyond them, in degrees, is interpolated (bilinear), and
    corners that come into view are black.
    """
    from PIL.Image import Resampling, Transpose

    turns = (Transpose.ROTATE_90, Transpose.ROTATE_180, Transpose.ROTATE_270)
    turned = image if quarter_turns == 0 else image.transpose(turns[quarter_turns - 1])
    return turned if angle == 0 else turned.rotate(angle, Resampling.BILINEAR)


def counts_by_label(client: ClientData) -> dict[str, int]:
    """Return a client's label counts over both parts, in label order."""
    total: dict[str, int] = {}
    for part in (client.train, client.test):
        for name, count in part.label_counts().items():
            total[name] = total.get(name, 0) + count
    return {name: total[name] for name in order_labels(total)}
