from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from report_runs import full_run, metrics_line, minimal_run, write_clients, write_lines
from rich.console import Console

from app.report.markup import element
from app.report.plots.labels.distribution import label_figure, plot_label_distribution
from app.report.reading import read_run
from app.report.record import safe
from app.report.scores import score_after, score_before, scores, totals
from app.report.summary import print_summary, summary_table
from app.report.wording import data_in_words, difference, duration, percent, points, size
from models.errors import RunDirectoryError


def printed(run: Path) -> str:
    console = Console(width=160, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    print_summary(run, console)
    return console.export_text()


def cells(text: str, label: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.strip().startswith(label))
    return line.strip().removeprefix(label).split("  ")


def test_summary_table_says_before_after_baselines_and_cost(tmp_path: Path) -> None:
    run = full_run(tmp_path / "spring")
    text = printed(run)

    def said(label: str) -> list[str]:
        return [cell.strip() for cell in cells(text, label) if cell.strip()]

    assert "spring · fedavg on digits" in text
    assert said("Server test set: accuracy") == ["83.0 %", "90.4 %", "+7.4 pp", "94.0 %", "–"]
    assert said("Server test set: loss") == ["0.620", "0.325", "−0.295", "–", "–"]
    assert said("Clients: mean accuracy")[-2:] == ["93.0 %", "81.0 %"]
    assert said("Bytes up") == ["7.07 MB", "0 B", "0 B"]
    assert said("Time") == ["1 min 02 s", "22.0 s", "22.0 s"]
    assert said("Refused replies") == ["0", "0", "0"]
    assert [column.header for column in summary_table(run).columns][:4] == [
        "", "Before", "After round 10", "Change",
    ]  # fmt: skip


def test_summary_names_what_is_there_and_how_it_ended(tmp_path: Path) -> None:
    run = minimal_run(tmp_path / "small")
    assert "Adapter" not in printed(run)
    (run / "adapter").mkdir()
    message = "[red]no[/red] quorum"
    (run / "status.json").write_text(json.dumps({"state": "failed", "message": message}))
    text = printed(run)
    assert f"Adapter  {run / 'adapter'}" in text
    assert f"Run failed: {message}" in text
    assert "Server" not in text


def test_clients_rows_stand_in_where_rounds_say_nothing(tmp_path: Path) -> None:
    write_lines(tmp_path / "metrics.jsonl", [metrics_line(0), metrics_line(1)])
    rows = [
        {"client": f"c{i}", "accuracy_before": i / 32, "accuracy_after": i / 16} for i in range(16)
    ]
    write_clients(tmp_path / "clients.csv", rows)
    record = read_run(tmp_path)
    assert score_before(record, "client_accuracy_mean") == 7.5 / 32
    assert score_after(record, "client_accuracy_mean") == 7.5 / 16
    assert score_after(record, "client_accuracy_median") == 7.5 / 16
    assert score_after(record, "client_accuracy_worst") == 0.0
    assert score_after(record, "client_accuracy_worst_decile") == 0.0
    assert score_after(record, "client_accuracy_std") == pytest.approx((255 / 12) ** 0.5 / 16)
    assert score_after(record, "accuracy") is None


def test_newest_score_counts_and_totals_add_up(tmp_path: Path) -> None:
    lines = [
        metrics_line(0, accuracy=0.25, bytes_down=5, seconds=0.5),
        metrics_line(1, accuracy=0.5, bytes_up=10, seconds=1.0, rejected=[{"client": "a"}]),
        metrics_line(2, accuracy=None, bytes_up=20, seconds=2.0),
    ]
    write_lines(tmp_path / "metrics.jsonl", lines)
    record = read_run(tmp_path)
    (row,) = scores(record)
    assert (row.before, row.after, row.change) == (0.25, 0.5, 0.25)
    spent = totals(record)
    assert (spent.rounds, spent.bytes_up, spent.bytes_down) == (2, 30, 5)
    assert (spent.seconds, spent.rejected) == (3.5, 1)
    assert record.rejected[0].round == 1
    assert record.rejected[0].code == "unknown"


def test_a_round_written_again_after_a_resume_counts_once(tmp_path: Path) -> None:
    lines = [metrics_line(n, accuracy=a, bytes_up=7) for n, a in ((0, 0.1), (1, 0.2), (1, 0.3))]
    write_lines(tmp_path / "metrics.jsonl", lines)
    record = read_run(tmp_path)
    assert record.series("accuracy") == ([0, 1], [0.1, 0.3])
    assert totals(record).bytes_up == 14


def test_half_a_last_line_is_forgiven_but_a_broken_one_before_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"round": 0, "accuracy": 0.5}\n{"round": 1, "accu')
    assert len(read_run(tmp_path).rounds) == 1
    path.write_text('{"round": 0\n{"round": 1}\n')
    with pytest.raises(RunDirectoryError, match=r"metrics\.jsonl, line 1: not valid JSON"):
        read_run(tmp_path)


def test_numbers_that_are_none_or_not_finite_are_unknown(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(
        '{"round": 1, "accuracy": NaN, "loss": Infinity, "macro_f1": true, "train_loss": "0.5"}\n'
    )
    assert dict(read_run(tmp_path).rounds[0].scores) == {"train_loss": 0.5}


@pytest.mark.parametrize(
    ("name", "content"), [("config.toml", "a = = 1"), ("status.json", "{"), ("labels.json", "[1]")]
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: str) -> None:
    minimal_run(tmp_path / "run")
    (tmp_path / "run" / name).write_text(content)
    with pytest.raises(RunDirectoryError, match=name.replace(".", r"\.")):
        read_run(tmp_path / "run")


def test_words_for_sites_with_data_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('dataset = "wards"\npartition = "dirichlet"\n')
    rows = [{"client": name, "examples": 40} for name in ("hospital-a", "hospital-b")]
    write_clients(tmp_path / "clients.csv", rows)
    said = data_in_words(read_run(tmp_path))
    assert said.startswith("wards, held by 2 clients, each with data of its own.")
    assert "80 training examples in all, 40 a client." in said


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (percent(0.90625), "90.6 %"), (percent(None), "–"), (points(-0.0732), "−7.3 pp"),
        (points(0.0004), "0.0 pp"), (points(-0.0004), "0.0 pp"), (difference(0.5), "+0.500"),
        (size(0), "0 B"), (size(999), "999 B"), (size(1_000), "1 kB"), (size(3_405_000), "3.4 MB"),
        (size(999_600), "1,000 kB"), (size(2.5e12), "2.5 TB"), (duration(0.04), "0.0 s"),
        (duration(59.96), "1 min 00 s"), (duration(185), "3 min 05 s"),
        (duration(7_800), "2 h 10 min"),
    ],
)  # fmt: skip
def test_numbers_in_words(written: str, expected: str) -> None:
    assert written == expected


@given(st.text())
def test_no_text_can_open_a_tag_or_leave_an_attribute(text: str) -> None:
    built = element("p", text, title=text)
    assert built.count("<") == built.count(">") == 2
    assert built.count('"') == 2
    assert len(safe(text).encode("utf-8")) >= len(text)


@settings(max_examples=25)
@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "$x$", "<c>"]),
        st.dictionaries(st.sampled_from(["0", "1", "extra"]), st.integers(0, 9)),
    )
)
def test_label_rows_show_every_client_and_label_once(counts: dict[str, dict[str, int]]) -> None:
    figure = label_figure(counts, ["0", "1"])
    if not counts:
        assert len(figure.axes) == 1
        return
    rows = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert sorted(rows) == sorted(name.replace("$", r"\$") for name in counts)
    columns = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    extra = any("extra" in row for row in counts.values())
    assert columns == (["0", "1", "extra"] if extra else ["0", "1"])


def test_label_plot_writes_a_picture_and_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "labels.png"
    plot_label_distribution({"a": {"cat": 3}, "b": {"dog": 1}}, ["cat", "dog"], path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.getpixel((1, 1)) == (255, 255, 255, 255)
    assert [p.name for p in path.parent.iterdir()] == ["labels.png"]
