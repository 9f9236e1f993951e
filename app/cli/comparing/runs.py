"""Running what is left of a comparison, one run after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console

from app.cli.comparing.superlink import NAME, OwnSuperLink
from app.cli.display import choose_display
from app.cli.launch import FlowerProcess, Outcome, judge
from app.cli.merging import differing, find_app_root
from app.cli.run import follow
from app.cli.run_files import RunFiles
from app.compare.cells import Cell
from app.settings import declared_keys

Run = Callable[[Cell], Outcome]


def run_cells(cells: Sequence[Cell], run: Run, console: Console, failed: list[str]) -> None:
    """Run every cell that is not finished; add a line for each that fails to `failed`.

    A run that was cut is continued; one that fails costs only its own place in the table. What
    failed is known too where a person ends it all.
    """
    left = [cell for cell in cells if not cell.finished]
    done = len(cells) - len(left)
    console.print(f"{len(cells)} runs, {done} finished already", highlight=False)
    for number, cell in enumerate(left, start=done + 1):
        verb = "continued" if cell.begun else "started"
        console.print(
            f"[{number}/{len(cells)}] {cell.method}, seed {cell.seed}: {verb}",
            markup=False,
            highlight=False,
            style="bold",
        )
        outcome = run(cell)
        if outcome.code:
            failed.append(f"{cell.method}, seed {cell.seed}: {outcome.message}")
            console.print(f"failed: {outcome.message}", markup=False, style="red")


class UnderFlower:
    """Runs cells by ``flwr run`` under one SuperLink; a callable for `run_cells`.

    Parameters
    ----------
    superlink : OwnSuperLink
        Started.
    federation_config : sequence of str
        Passed on as ``--federation-config``.
    console : Console
    """

    def __init__(
        self, superlink: OwnSuperLink, federation_config: Sequence[str], console: Console
    ) -> None:
        self._superlink = superlink
        self._federation = federation_config
        self._console = console
        self._root = find_app_root()
        self._rounds = int(str(declared_keys()["num-server-rounds"].default))

    def __call__(self, cell: Cell) -> Outcome:
        """Run one cell to its end.

        Raises
        ------
        KeyboardInterrupt
            The person wants to stop; the run in progress is stopped with the SuperLink, and is
            continued next time.
        """
        config = differing({**cell.config, "resume": cell.begun})
        environment = self._superlink.environment
        files = RunFiles(cell.folder)
        rounds = int(str(cell.config.get("num-server-rounds", self._rounds)))
        with FlowerProcess(self._root, config, NAME, self._federation, environment) as process:
            follow(process, files, choose_display(self._console, rounds))
            return judge(files.status(), process.code, None)
