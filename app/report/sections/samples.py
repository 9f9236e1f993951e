"""What the model writes, before and after training: read, and shown on the page and in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.report.markup import Html, element, join, table
from app.report.record import clean
from models.errors import RunDirectoryError

SAMPLES = "samples.json"
_FEW = 3


@dataclass(frozen=True)
class Sample:
    """A prompt, how the data go on there, and what the model wrote before and after training."""

    prompt: str
    reference: str
    before: str
    after: str


def read_samples(path: Path) -> tuple[Sample, ...]:
    """Read ``samples.json``; none where there is none.

    Raises
    ------
    RunDirectoryError
        The file holds something else.
    """
    if not path.is_file():
        return ()
    try:
        rows = json.loads(path.read_text("utf-8"))
        keys = ("prompt", "reference", "before", "after")
        return tuple(Sample(*(clean(str(row[key])) for key in keys)) for row in rows)
    except (ValueError, KeyError, TypeError) as error:
        raise RunDirectoryError(f"{path} holds no samples: {type(error).__name__}") from error


def samples_section(samples: Sequence[Sample]) -> Html | None:
    """Write the section; None where no text was written."""
    if not samples:
        return None
    rows = [
        [sample.prompt or "(nothing)", sample.before, sample.after, sample.reference]
        for sample in samples
    ]
    return join(
        element("h2", "Samples"),
        element("p", "What the shared model writes after a prompt.", class_="muted"),
        table(["Prompt", "Before", "After", "In the data"], [[*row] for row in rows], 4, "samples"),
    )


def samples_in_words(samples: Sequence[Sample]) -> list[str]:
    """Return a few samples as lines for a terminal."""
    return [f"Sample   {one.prompt} → {one.after}" for one in samples[:_FEW]]
