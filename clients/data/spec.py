"""What data a run uses, and how it is divided: one frozen value that travels as JSON."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.errors import ConfigurationError, DataError, nearest

_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")

Task = Literal["classification", "causal-lm"]
PartitionArgs = tuple[tuple[str, object], ...]
"""A hashable mapping: pairs of an argument's kebab-case name and its plain value."""


@dataclass(frozen=True)
class DataSpec:
    """The data settings of a run.

    Attributes
    ----------
    dataset : str
        ``"digits"``, ``"shakespeare"``, a Hugging Face name (``"name"`` or ``"name:config"``), or
        an absolute path.
    text_column, image_column, label_column : str
        Column names; empty means detected.
    prompt_column, response_column, messages_column : str
        Of ``causal-lm``: prompts with their responses, or chats; empty means detected.
    group_columns : tuple of str
        Columns by which results are also reported.
    table_columns : tuple of str
        Columns that a model of tables reads; empty means all but label and groups where there is
        neither text nor image.
    partition : str
        One of `clients.data.PARTITIONS`.
    partition_args : tuple of (str, object)
        Arguments of the partition and of the concept shift.
    num_clients : int
        Number of clients; ignored by ``natural-id`` and ``folders``.
    partition_seed : int
        Seed of every split and shift.
    test_fraction : float
        Share in (0, 1) held out: of each client's rows, and for the server where the data set
        has no test split.
    public_data : str
        Share of the train split such as ``"10%"``, or an absolute path.
    needs_public : bool
        Whether a share is really withheld from the clients.
    server_data_path : str
        Absolute path of the server's test set; empty means the data set's own.
    labels : tuple of str
        Label names in the order of the model's outputs; empty means those of the data, sorted.
    drift : str
        One of `clients.data.drift.DRIFTS`.
    drift_args : tuple of (str, object)
        Its arguments.
    task : {"classification", "causal-lm"}
        What the rows are for: with ``causal-lm`` they are texts without labels.
    """

    dataset: str = "digits"
    text_column: str = ""
    image_column: str = ""
    label_column: str = ""
    prompt_column: str = ""
    response_column: str = ""
    messages_column: str = ""
    group_columns: tuple[str, ...] = ()
    partition: str = "dirichlet"
    partition_args: PartitionArgs = (("alpha", 0.3),)
    num_clients: int = 20
    partition_seed: int = 42
    test_fraction: float = 0.2
    public_data: str = "10%"
    needs_public: bool = False
    server_data_path: str = ""
    labels: tuple[str, ...] = ()
    drift: str = "none"
    drift_args: PartitionArgs = ()
    table_columns: tuple[str, ...] = ()
    task: Task = "classification"

    @property
    def arguments(self) -> dict[str, object]:
        """The partition's arguments as a dictionary."""
        return dict(self.partition_args)

    def to_json(self) -> str:
        """Return the spec as JSON with sorted keys, so that equal specs give equal text."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> DataSpec:
        """Read what `to_json` wrote.

        Raises
        ------
        DataError
            If the text is not a JSON object or has an unknown key.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"the data settings are not JSON: {error}") from None
        if not isinstance(values, dict):
            raise DataError(f"the data settings are not a JSON object but {type(values).__name__}")
        known = [field.name for field in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                raise DataError(
                    f"the data settings have an unknown key '{key}': "
                    f"{nearest(key, known)}; both sides need the same version"
                )
        for key in ("group_columns", "labels", "table_columns"):
            if key in values:
                values[key] = tuple(values[key])
        for key in ("partition_args", "drift_args"):
            if key in values:
                values[key] = tuple((str(name), _hashable(value)) for name, value in values[key])
        return cls(**values)


def _hashable(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def public_share(text: str) -> float | None:
    """Return the share that ``public-data`` asks for.

    Parameters
    ----------
    text : str
        ``"10%"``, an absolute path, or nothing.

    Returns
    -------
    float or None
        Share in (0, 1); None if the text is empty or a path.

    Raises
    ------
    ConfigurationError
        If it is none of these.
    """
    if not text or Path(text).is_absolute():
        return None
    match = _PERCENT.fullmatch(text.strip())
    share = float(match[1]) / 100 if match else 0.0
    if not 0 < share < 1:
        raise ConfigurationError(
            f"public-data = '{text}' is not allowed; allowed: a share of the train split above 0% "
            "and below 100% such as '10%', or an absolute path of a file or folder (relative paths "
            "are refused because the app does not run in your working directory)"
        )
    return share
