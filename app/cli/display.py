"""Progress on the terminal: a live bar, or one plain line a round where nobody watches."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bar

from app.cli.run_files import Progress

_UNKNOWN = "-"


class Display(Protocol):
    """Shows a run in progress; a context manager."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal clean."""

    def round_done(self, metrics: Mapping[str, object]) -> None:
        """Show a finished round, one object of metrics.jsonl."""

    def progress(self, progress: Progress | None) -> None:
        """Show where the round in progress stands."""


def choose_display(console: Console, rounds: int) -> Display:
    """Return the live display on a terminal, the plain one elsewhere."""
    return LiveDisplay(console, rounds) if console.is_terminal else PlainDisplay(console, rounds)


class PlainDisplay:
    """One line a round, fit for logs."""

    def __init__(self, console: Console, rounds: int) -> None:
        self._console = console
        self._rounds = rounds

    def __enter__(self) -> Self:
        """Begin to show."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave nothing behind."""

    def round_done(self, metrics: Mapping[str, object]) -> None:
        """Print the round."""
        line = describe_round(metrics, self._rounds)
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def progress(self, progress: Progress | None) -> None:
        """Show nothing between rounds."""


class LiveDisplay:
    """A bar of rounds with clients done, loss, accuracy and the time left."""

    def __init__(self, console: Console, rounds: int) -> None:
        self._console = console
        self._rounds = rounds
        self._seconds: list[float] = []
        self._done = 0
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[clients]}"),
            TextColumn("{task.fields[scores]}"),
            TextColumn("{task.fields[left]}", style="cyan"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task(
            "starting Flower", total=rounds, clients="", scores="", left=""
        )

    def __enter__(self) -> Self:
        """Draw the bar."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the bar; the printed rounds stay."""
        self._bar.stop()

    def round_done(self, metrics: Mapping[str, object]) -> None:
        """Print the round above the bar and move the bar on."""
        line = describe_round(metrics, self._rounds)
        self._bar.console.print(line, markup=False, highlight=False)
        number, seconds = metrics.get("round"), metrics.get("seconds")
        if isinstance(number, int):
            self._done = number
            if number and isinstance(seconds, int | float):
                self._seconds.append(float(seconds))
        loss, accuracy = _number(metrics.get("loss"), 3), _number(_accuracy(metrics), 3)
        last = self._done >= self._rounds
        self._bar.update(
            self._task,
            completed=self._done,
            description="finishing" if last else f"round {self._done + 1}/{self._rounds}",
            clients="",
            scores=f"loss {loss} accuracy {accuracy}",
            left=self._left(0.0),
        )

    def progress(self, progress: Progress | None) -> None:
        """Move the bar by the clients that have answered."""
        if progress is None or progress.round <= self._done:
            return
        share = progress.done / progress.asked if progress.asked else 0.0
        if progress.action == "evaluate":
            share = 1.0  # evaluation follows training; the bar must not go back
        self._bar.update(
            self._task,
            completed=progress.round - 1 + share,
            total=progress.rounds,
            description=f"round {progress.round}/{progress.rounds}",
            clients=f"{progress.action} {progress.done}/{progress.asked} clients".lstrip(),
            left=self._left(share),
        )

    def _left(self, share: float) -> str:
        remaining = self._rounds - self._done - share
        if not self._seconds or remaining <= 0:
            return ""
        seconds = remaining * sum(self._seconds) / len(self._seconds)
        return f"{_duration(seconds)} left"


def describe_round(metrics: Mapping[str, object], rounds: int) -> str:
    """Say a round in one line; what was not measured is ``-``.

    Parameters
    ----------
    metrics : mapping
        One object of metrics.jsonl.
    rounds : int
        How many rounds there are.
    """
    number = metrics.get("round")
    head = "before training" if number == 0 else f"round {number}/{rounds}"
    parts = [f"{head:<15}"]
    if number != 0:
        answered, asked = metrics.get("clients_answered"), metrics.get("clients_asked")
        parts.append(f"clients {_count(answered)}/{_count(asked)}")
        parts.append(f"train loss {_number(metrics.get('train_loss'), 3)}")
    parts.append(f"loss {_number(metrics.get('loss'), 3)}")
    parts.append(f"accuracy {_number(metrics.get('accuracy'), 3)}")
    mean, worst = metrics.get("client_accuracy_mean"), metrics.get("client_accuracy_worst")
    if mean is not None:
        parts.append(f"clients' mean {_number(mean, 3)} worst {_number(worst, 3)}")
    if isinstance(seconds := metrics.get("seconds"), int | float):
        parts.append(f"{seconds:.1f} s")
    rejected = metrics.get("rejected")
    if isinstance(rejected, list) and rejected:
        parts.append(f"rejected {len(rejected)}")
    return "  ".join(parts)


def _accuracy(metrics: Mapping[str, object]) -> object:
    """Return the server's accuracy, or the clients' mean where the server has no test set."""
    accuracy = metrics.get("accuracy")
    return metrics.get("client_accuracy_mean") if accuracy is None else accuracy


def _number(value: object, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, int | float) else _UNKNOWN


def _count(value: object) -> str:
    return str(value) if isinstance(value, int) else _UNKNOWN


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
