"""Weights & Biases: offline in ``wandb/`` of the run directory, online where one is logged in."""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import wandb

from app.trackers.tracker import Ending, TrackedRun
from models.files import write_text

PROJECT = "bouquet"


class WandB:
    """A tracker that writes a W&B run of the run directory's own id."""

    def start(self, run: TrackedRun, kept: int) -> int:
        """Open the run, or the same one again."""
        self._file = run.folder / "wandb" / "newest-round"
        self._file.parent.mkdir(exist_ok=True)
        self._run = wandb.init(
            id=run.uid,
            resume="allow",
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=run.name,
            dir=str(run.folder),
            config=dict(run.settings),
            allow_val_change=True,
            tags=[f"{name}:{value}"[:64] for name, value in run.tags.items()],
            mode=_mode(),
            # Numbers alone: no console, code, packages, machine.
            settings=wandb.Settings(
                console="off",
                disable_git=True,
                save_code=False,
                silent=True,
                init_timeout=30,
                x_disable_meta=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
            ),
        )
        # Offline there is nobody to ask what is written already.
        return int(self._file.read_text()) if self._file.is_file() else -1

    def round(self, number: int, scalars: Mapping[str, float]) -> None:
        """Write one round's numbers."""
        self._run.log(dict(scalars), step=number, commit=True)
        write_text(self._file, f"{number}\n", durable=False)

    def end(self, ending: Ending) -> None:
        """Write how the run ended into its summary, and the table as its notes."""
        self._run.summary.update(ending.facts)
        if ending.table:
            self._run.notes = f"```\n{ending.table}\n```"
        self._run.finish(exit_code=int(ending.state != "finished"))


def _mode() -> Literal["offline"] | None:
    """Return W&B's mode: what the person chose, else offline unless there is a key."""
    chosen = os.environ.get("WANDB_MODE") or os.environ.get("WANDB_API_KEY")
    return None if chosen or _logged_in() else "offline"


def _logged_in() -> bool:
    """Say whether ``wandb login`` has left a key, which it does in ``.netrc``."""
    server = os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"
    file = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        return netrc.netrc(str(file)).authenticators(urlsplit(server).hostname or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False


TRACKER = WandB
