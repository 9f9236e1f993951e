"""TensorBoard: event files in ``tensorboard/`` of the run directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from app.trackers.tracker import Ending, TrackedRun
from strategies.rounds.record import CLIENT_SUMMARY, SERVER_SCORES

FOLDER = "tensorboard"
_SHOWN = ("train_loss", *SERVER_SCORES, *CLIENT_SUMMARY)
"""What the table of hyperparameters shows beside them."""


class TensorBoard:
    """A tracker that writes event files.

    Numbers are kept in single precision: TensorBoard's own server shows no others.
    """

    def start(self, run: TrackedRun, kept: int) -> int:
        """Open the folder; what lies there of later rounds is taken back."""
        folder = run.folder / FOLDER
        # The newest round may have been cut in the middle: it is written again.
        newest = max(min(_newest(folder) - 1, kept), -1)
        self._writer = SummaryWriter(str(folder), purge_step=newest + 1)
        about, begun, self._ended = hparams(dict(run.settings), dict.fromkeys(_SHOWN, 0.0))
        for summary in (about, begun):
            self._writer.file_writer.add_summary(summary)
        tags = "\n".join(f"- {name}: {value}" for name, value in run.tags.items())
        self._writer.add_text("run", f"**{run.name}**\n\n{tags}", max(newest, 0))
        self._writer.flush()
        return newest

    def round(self, number: int, scalars: Mapping[str, float]) -> None:
        """Write one round's numbers."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, float(value), number)
        self._writer.flush()

    def end(self, ending: Ending) -> None:
        """Write how the run ended, as texts."""
        for name, value in ending.facts.items():
            self._writer.add_text(name, value)
        if ending.table:
            self._writer.add_text("table", f"```\n{ending.table}\n```")
        if ending.state == "finished":
            self._writer.file_writer.add_summary(self._ended)
        self._writer.close()


def _newest(folder: Path) -> int:
    """Return the newest round in a folder's event files; -1 if there is none."""
    if not folder.is_dir():
        return -1
    found = EventAccumulator(str(folder), {"scalars": 0})
    found.Reload()
    there = "round" in found.Tags()["scalars"]
    return max(event.step for event in found.Scalars("round")) if there else -1


TRACKER = TensorBoard
