"""What a run says of time, written as the page's section on the clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from app.report.markup import Html, element, join
from app.report.plots.clock.gantt import gantt_figure, gantt_words
from app.report.plots.clock.learning import time_figure, time_words
from app.report.plots.clock.shares import shares_figure, shares_words
from app.report.record import RunRecord
from app.report.sections.pictures import Picture, shown
from app.report.wording import counted, duration, number

CLOCK_PICTURES = ("time", "gantt", "staleness")
"""Names of the pictures that belong to this section."""


def clock_pictures(record: RunRecord) -> Iterator[tuple[str, Figure, str, str]]:
    """Yield file name, figure, description and caption of what the section shows."""
    over_time = time_figure(record)
    if over_time is not None:
        yield ("time", over_time, *time_words(record))
    timeline = record.timeline
    if timeline is None:
        return
    yield ("gantt", gantt_figure(timeline), *gantt_words(timeline))
    examples = {row.client: row.examples for row in record.clients if row.examples is not None}
    shares = shares_figure(timeline, examples)
    if shares is not None:
        yield ("staleness", shares, *shares_words(timeline, examples))


def clock_section(record: RunRecord, pictures: Sequence[Picture]) -> Html | None:
    """Write the section; None where the run says nothing of time.

    Parameters
    ----------
    record : RunRecord
    pictures : sequence of Picture
        All of the page's; those of this section are taken.
    """
    own = [shown(picture) for picture in pictures if picture.name in CLOCK_PICTURES]
    if not own:
        return None
    words = clock_in_words(record)
    return join(element("h2", "Time"), element("p", words) if words else None, *own)


def clock_in_words(record: RunRecord) -> str:
    """Say how long the run took on its clock, how stale updates were, and how much was idle."""
    timeline = record.timeline
    if timeline is None:
        return ""
    stale = timeline.staleness[timeline.counted]
    said = f"{duration(timeline.end)} on the {'virtual' if _virtual(record) else 'real'} clock."
    if len(stale):
        said += (
            f" {counted(len(stale), 'update')} went into the model, "
            f"{number(float(stale.mean()), 1)} rounds stale on average."
        )
        closes = np.array([timeline.close_of(r) for r in timeline.round[timeline.counted]])
        waited = float((closes - timeline.arrived[timeline.counted]).clip(0).mean())
        said += f" An answer waited {duration(waited)} on average until its round closed."
    lost = int((~timeline.counted).sum())
    return said + (f" {counted(lost, 'training')} came to nothing." if lost else "")


def _virtual(record: RunRecord) -> bool:
    return any(line.clock is not None for line in record.rounds)
