"""The report's section on time: what it reads, what it says and what it draws."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from report_runs import full_run, metrics_line, write_clients, write_lines

from app.report import write_report
from app.report.clock.reading import read_timeline
from app.report.plots.clock.gantt import _rows, _until, gantt_figure
from app.report.plots.clock.learning import _reached, time_figure
from app.report.reading import read_run
from app.report.sections.clock import clock_in_words, clock_pictures, clock_section
from app.run_directory.results import EVENT_COLUMNS
from models.errors import RunDirectoryError

# Round 1 closes at 4 s, round 2 at 6 s, round 3 at 12 s.
EVENTS = [
    (1, "a", 1, 0.0, 2.0, "answered"),
    (1, "b", 1, 0.0, 4.0, "answered"),
    (2, "a", 2, 4.0, 6.0, "answered"),
    (3, "c", 1, 0.0, 12.0, "answered"),
    (3, "b", 2, 4.0, 9.0, "dropout"),
]


def write_events(folder: Path, rows: list[tuple[object, ...]]) -> None:
    with (folder / "events.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerows([EVENT_COLUMNS, *rows])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    closes = (0.0, 4.0, 6.0, 12.0)
    lines = [
        metrics_line(r, virtual_seconds=s, accuracy=0.5 + 0.1 * r, client_accuracy_mean=0.4)
        for r, s in enumerate(closes)
    ]
    write_lines(tmp_path / "metrics.jsonl", lines)
    write_clients(tmp_path / "clients.csv", [{"client": c, "examples": 10} for c in "abcd"])
    write_events(tmp_path, EVENTS)  # type: ignore[arg-type]
    return tmp_path


def test_what_is_read(folder: Path) -> None:
    timeline = read_run(folder).timeline
    assert timeline is not None
    assert timeline.clients == ("a", "b", "c", "d")
    assert timeline.staleness[timeline.counted].tolist() == [0, 0, 0, 2]
    assert timeline.used.tolist() == [2, 1, 1, 0]
    np.testing.assert_array_equal(timeline.seconds, [2.0, 4.0, 12.0, np.nan])
    assert timeline.end == 12.0
    assert timeline.close_of(2) == 6.0


def test_a_close_that_was_not_said_is_its_last_answer(folder: Path) -> None:
    timeline = read_timeline(folder, {}, 3, [])
    assert timeline is not None
    assert [timeline.close_of(number) for number in (1, 2, 3)] == [4.0, 6.0, 12.0]


def test_words(folder: Path) -> None:
    words = clock_in_words(read_run(folder))
    assert words == (
        "12.0 s on the virtual clock. 4 updates went into the model, 0.5 rounds stale on average. "
        "An answer waited 0.5 s on average until its round closed. 1 training came to nothing."
    )


def test_pictures_and_page(folder: Path) -> None:
    names = [name for name, *_ in clock_pictures(read_run(folder))]
    assert names == ["time", "gantt", "staleness"]
    page = write_report(folder).read_text()
    assert page.count('id="gantt"') == 1
    assert "<h2>Time</h2>" in page
    assert (folder / "plots" / "staleness.png").stat().st_size > 5_000


def test_nine_tenths_of_the_gain() -> None:
    assert _reached([0.0, 5.0, 7.0, 9.0], [0.5, 0.8, 0.95, 1.0]) == (7.0, 0.95)
    assert _reached([0.0, 5.0], [0.5, 0.4]) == (None, 0.0)


def test_a_run_without_a_clock_says_nothing_of_time(tmp_path: Path) -> None:
    run = full_run(tmp_path / "run", clients=4, rounds=2)
    record = read_run(run)
    assert record.timeline is None
    assert time_figure(record) is None
    assert list(clock_pictures(record)) == []
    assert clock_section(record, []) is None


def test_a_resumed_run_counts_a_training_once_and_half_a_line_never(folder: Path) -> None:
    with (folder / "events.csv").open("a") as file:
        file.write(
            "3,c,1,0.0,11.0,answered\n@pooled,1,1,0.0,1.0,answered\n9,a,9,1.0,2.0,answered\n"
        )
        file.write("3,b,2,4.0,9")
    timeline = read_run(folder).timeline
    assert timeline is not None
    assert len(timeline.client) == 5
    assert timeline.arrived[timeline.client == 2].tolist() == [11.0]


def test_no_table(folder: Path) -> None:
    (folder / "events.csv").write_bytes(b'round,client\n1,"a\n' + b"x" * 200_000 + b"\n")
    with pytest.raises(RunDirectoryError, match=r"events\.csv is not valid CSV"):
        read_run(folder)


def test_very_many_clients_and_trainings_are_drawn_in_part(folder: Path) -> None:
    rows = [
        (1, f"client-{i:03d}", 1, float(k), k + (i + 1) / 300, "answered")
        for i in range(300)
        for k in range(20)
    ]
    write_events(folder, rows)  # type: ignore[arg-type]
    timeline = read_timeline(folder, {}, 3, [])
    assert timeline is not None
    shown = _rows(timeline)
    assert len(shown) == 120
    assert shown[0] == 0
    assert shown[-1] == 299
    place = np.full(300, -1)
    place[shown] = np.arange(120)
    assert _until(timeline, place) == 12.0  # 1,500 bars of 120 a second
    assert gantt_figure(timeline).axes[0].get_xlim() == (0.0, 12.0)
