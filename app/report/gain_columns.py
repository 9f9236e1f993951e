"""What each client gained over the baselines, beside the rest in ``clients.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from models.files import write_text

_SCORE = "accuracy_after"


def add_gains(folder: Path, baselines: Iterable[str]) -> None:
    """Add a column ``gain_over_<baseline>`` for each baseline to a run's ``clients.csv``.

    Parameters
    ----------
    folder : Path
        The run directory, where the baselines have ``baselines/<name>/clients.csv``.
    baselines : iterable of str
        Empty leaves the file as it is.
    """
    own = _read(folder / "clients.csv")
    names = list(baselines)
    if not names or not own:
        return
    for name in names:
        rows = _read(folder / "baselines" / name / "clients.csv")
        reached = {row["client"]: row[_SCORE] for row in rows}
        for row in own:
            other, score = reached.get(row["client"], ""), row[_SCORE]
            row[f"gain_over_{name}"] = str(float(score) - float(other)) if other and score else ""
    out = io.StringIO()
    table = csv.DictWriter(out, own[0].keys())
    table.writeheader()
    table.writerows(own)
    write_text(folder / "clients.csv", out.getvalue(), durable=False)


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
