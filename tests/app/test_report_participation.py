from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from PIL import Image
from report_runs import metrics_line, write_clients, write_lines

from app.report import write_report
from app.report.participation import Absence, Participation
from app.report.plots import style
from app.report.plots.participation import (
    _order,
    _raster,
    participation_caption,
    participation_figure,
)
from app.report.reading import read_run
from app.report.wording import method_in_words, participation_in_words
from models.errors import RunDirectoryError

Rows = Iterable[tuple[int, str, str]]
BLUE, ORANGE, PALE = (to_rgb(c) for c in (style.SERVER, style.WORSE, style.GRID))
# Three clients, six rounds: "a" always, "b" with a gap of three and a lost reply, "c" never.
PLAN = {"a": "......", "b": ".   x.", "c": "  x   "}


def built(plan: dict[str, str]) -> Participation:
    """Build from a line a client: '.' answered, 'x' lost, ' ' not asked."""
    cells = np.array([list(line) for line in plan.values()])
    client, number = np.nonzero(cells != " ")
    answered = cells[client, number] == "."
    return Participation(tuple(plan), cells.shape[1], client, number + 1, answered)


def run_with(folder: Path, rows: Rows | None, rounds: int, clients: Iterable[str] = ()) -> Path:
    folder.mkdir(parents=True)
    rows = None if rows is None else list(rows)
    asked = [sum(r == n for r, _, _ in rows or ()) for n in range(rounds + 1)]
    lines = [metrics_line(n, accuracy=0.5, clients_asked=asked[n], clients_answered=asked[n])
             for n in range(rounds + 1)]  # fmt: skip
    write_lines(folder / "metrics.jsonl", lines)
    took = {c: [r for r, who, said in rows or () if who == c and said == "answered"]
            for c in clients}  # fmt: skip
    table = [{"client": c, "rounds": len(n), "last_round": max(n, default="")}
             for c, n in took.items()]  # fmt: skip
    write_clients(folder / "clients.csv", table)  # type: ignore[arg-type]
    if rows is not None:
        with (folder / "participation.csv").open("w", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerows([("round", "client", "outcome"), *rows])
    return folder


def planned(folder: Path, plan: dict[str, str]) -> Path:
    known = {".": "answered", "x": "dropout"}
    rounds = len(next(iter(plan.values())))
    rows = [(n + 1, c, known[line[n]]) for n in range(rounds) for c, line in plan.items()
            if line[n] != " "]  # fmt: skip
    return run_with(folder, rows, rounds, plan)


def test_frequency_staleness_and_absence_by_hand() -> None:
    known = built(PLAN)
    assert known.times.tolist() == [6, 2, 0]
    assert known.staleness.tolist() == [0, 0, 6]
    assert known.longest_absence() == Absence("b", 2, 5)
    assert not known.complete
    assert built({"a": "..", "b": ".."}).complete
    assert built({"a": "..", "b": ".."}).longest_absence() is None
    assert built({"a": "x ", "b": "  "}).longest_absence() is None
    assert built({"a": "x .", "b": ". x"}).longest_absence() == Absence("a", 1, 2)
    assert built({"a": ". .  ", "b": "....."}).longest_absence() == Absence("a", 4, 5)


@settings(max_examples=60)
@given(st.integers(1, 9).flatmap(
    lambda n: st.lists(st.text(". x", min_size=n, max_size=n), min_size=1, max_size=6)
))  # fmt: skip
def test_what_follows_for_a_client_is_what_its_line_says(lines: list[str]) -> None:
    known = built({f"c{i}": line for i, line in enumerate(lines)})
    assert known.times.tolist() == [line.count(".") for line in lines]
    assert known.staleness.tolist() == [len(ln) - 1 - ln.rfind(".") for ln in lines]
    gaps = [max(map(len, ln.replace("x", " ").split("."))) for ln in lines if "." in ln]
    absence = known.longest_absence()
    assert (absence.length if absence else 0) == max(gaps, default=0)
    if absence:
        line = lines[int(absence.client[1:])]
        assert "." not in line[absence.first - 1 : absence.last]
    assert known.complete == (set("".join(lines)) == {"."})


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = planned(tmp_path / "run", PLAN)
    known = read_run(folder).participation
    assert known is not None
    expected = built(PLAN)
    assert (known.clients, known.rounds) == (("a", "b", "c"), 6)
    for name in ("client", "round", "answered"):
        assert np.array_equal(getattr(known, name), getattr(expected, name))


def test_only_what_counts_is_read(tmp_path: Path) -> None:
    rows = [(1, "a", "timeout"), (1, "a", "answered"), (1, "@pooled", "answered"),
            (3, "a", "answered"), (2, "gone-10", "answered"), (2, "gone-9", "lost"),
            (0, "a", "answered"), (1, "", "answered")]  # fmt: skip
    folder = run_with(tmp_path / "run", rows, 2, ["b", "a"])
    with (folder / "participation.csv").open("a") as out:
        out.write("x,a,answered\n2\n2,b,answe")  # no round, too short, and a killed server's last
    known = read_run(folder).participation
    assert known is not None
    assert known.clients == ("b", "a", "gone-9", "gone-10")
    assert known.rounds == 2
    entries = zip(known.client.tolist(), known.round.tolist(), known.answered.tolist(), strict=True)
    assert list(entries) == [(1, 1, True), (2, 2, False), (3, 2, True)]


@pytest.mark.parametrize("content", [None, "", "round,client,outcome\n", "nothing\nof it\n"])
def test_without_the_file_the_report_says_nothing_of_it(
    tmp_path: Path, content: str | None
) -> None:
    folder = run_with(tmp_path / "run", None, 2, ["a", "b"])
    if content is not None:
        (folder / "participation.csv").write_text(content)
    record = read_run(folder)
    assert record.participation is None
    assert participation_in_words(record) == ""
    text = write_report(folder).read_text()
    assert "Participation." not in text
    assert not (folder / "plots" / "participation.png").exists()


def test_baselines_may_have_the_file_or_not(tmp_path: Path) -> None:
    folder = planned(tmp_path / "run", PLAN)
    planned(folder / "baselines" / "local", {"a": "."})
    run_with(folder / "baselines" / "global", None, 1)
    baselines = read_run(folder).baselines
    assert baselines["local"].participation is not None
    assert baselines["global"].participation is None


def test_a_field_too_long_for_a_name_is_named_by_file(tmp_path: Path) -> None:
    folder = planned(tmp_path / "run", PLAN)
    with (folder / "participation.csv").open("a") as out:
        out.write(f'7,"{"x" * 200_000}",answered\n')
    with pytest.raises(RunDirectoryError, match=r"participation\.csv"):
        read_run(folder)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ({"a": "...", "b": "..."}, "Every client took part in every one of 3 rounds."),
        (
            PLAN,
            "The median client took part in 2 of 6 rounds; 1 client never did. "
            "The longest absence among the others was 4 rounds: b, rounds 2 to 5.",
        ),
        (
            {"a": "....", "b": ".. ."},
            "The median client took part in 3.5 of 4 rounds, the least active, b, in 3. "
            "The longest absence was 1 round: b, round 3.",
        ),
        ({"a": "x", "b": " "}, "The median client took part in 0 of 1 round; 2 clients never did."),
    ],
)
def test_in_words(tmp_path: Path, plan: dict[str, str], expected: str) -> None:
    assert participation_in_words(read_run(planned(tmp_path / "run", plan))) == expected


def test_the_scenario_and_a_cohort_that_varies_are_named(tmp_path: Path) -> None:
    folder = planned(tmp_path / "run", PLAN)
    (folder / "config.toml").write_text(
        'participation = "bernoulli"\nparticipation-args = "p=0.3, dropout=0.1"\n'
    )
    record = read_run(folder)
    assert participation_in_words(record).endswith("Scenario: bernoulli (p=0.3, dropout=0.1).")
    assert "Up to 2 of 3 clients were asked each round." in method_in_words(record)
    (folder / "config.toml").write_text('participation = "always"\n')
    assert "Scenario" not in participation_in_words(read_run(folder))


def test_the_page_has_the_picture_the_sentence_and_the_columns(tmp_path: Path) -> None:
    folder = planned(tmp_path / "run", PLAN)
    text = write_report(folder).read_text()
    with Image.open(folder / "plots" / "participation.png") as picture:
        assert picture.width >= 1000
    assert 'id="participation"' in text
    assert "<strong>Participation. </strong>The median client took part in 2 of 6" in text
    cells = '<td class="num">{}</td><td class="num">{}</td><td class="num">{}</td>'
    for row in ((6, 6, 0), (2, 6, 0), (0, "never", "–")):
        assert cells.format(*row) in text
    assert ">Last round</th>" in text


def test_where_all_were_there_a_sentence_is_enough(tmp_path: Path) -> None:
    folder = planned(tmp_path / "run", {"a": "...", "b": "..."})
    text = write_report(folder).read_text()
    assert "Every client took part in every one of 3 rounds." in text
    assert not (folder / "plots" / "participation.png").exists()
    assert ">Last round</th>" not in text


def test_an_older_run_still_tells_the_last_round(tmp_path: Path) -> None:
    folder = planned(tmp_path / "run", {"a": "....", "b": ".   "})
    (folder / "participation.csv").unlink()
    assert '<td class="num">1</td><td class="num">1</td><td class="num">3</td>' in (
        write_report(folder).read_text()
    )


def test_each_cell_has_the_colour_of_its_outcome() -> None:
    figure = participation_figure(built(PLAN))
    assert figure is not None
    cells, often, stale = figure.axes
    colors = {".": BLUE, "x": ORANGE, " ": PALE}
    expected = [[colors[c] for c in line] for line in PLAN.values()]
    image = cells.images[0]
    assert np.allclose(image.get_array(), expected)
    assert list(image.get_extent()) == [0.5, 6.5, 2.5, -0.5]
    assert [t.get_text() for t in cells.get_yticklabels()] == ["a", "b", "c"]
    assert [t.get_text() for t in often.texts[:3]] == ["100 %", "33 %", "0 %"]
    assert [t.get_text() for t in stale.texts[:3]] == ["0", "0", "never"]
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert legend == ["answered 8", "asked but lost 2", "not asked 8"]
    assert "Too many" not in participation_caption(built(PLAN))


def test_many_clients_and_rounds_share_cells_and_the_caption_says_so() -> None:
    clients, rounds = 1_000, 501
    plan = {f"c{i}": ("." if i < 400 else " ") * rounds for i in range(clients)}
    plan["c400"] = "x" * rounds
    known = built(plan)
    figure = participation_figure(known)
    assert figure is not None
    image = np.asarray(figure.axes[0].images[0].get_array())
    assert image.shape == (200, 251, 3)
    assert np.allclose(image[:80], BLUE)
    assert np.allclose(image[80], np.array(PALE) + 0.2 * (np.array(ORANGE) - PALE))
    assert np.allclose(image[81:], PALE)
    assert figure.axes[0].get_xlim() == (0.5, 501.5)
    assert figure.axes[0].get_ylim() == (999.5, -0.5)
    caption = participation_caption(known)
    assert "a cell stands for up to 5 clients by 2 rounds" in caption
    assert "full from 100 %" in caption


def test_beyond_named_rows_those_that_took_part_most_come_first() -> None:
    plan = {f"c{i}": ("." if i % 2 else " ") * 9 + "." for i in range(50)}
    figure = participation_figure(built(plan))
    assert figure is not None
    image = np.asarray(figure.axes[0].images[0].get_array())
    assert np.allclose(image[:25], BLUE)
    assert np.allclose(image[25:, :9], PALE)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 2**32 - 1))
def test_no_question_is_lost_when_cells_are_shared(clients: int, rounds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    asked = np.argwhere(rng.random((clients, rounds)) < 0.1)
    said = rng.random(len(asked)) < 0.8
    names = tuple(map(str, range(clients)))
    known = Participation(names, rounds, asked[:, 0], asked[:, 1] + 1, said)
    raster = _raster(known, _order(known))
    high = np.minimum(raster.clients, clients - raster.clients * np.arange(len(raster.lost)))
    wide = np.minimum(raster.rounds, rounds - raster.rounds * np.arange(raster.lost.shape[1]))
    size = np.outer(high, wide)
    assert np.isclose((raster.answered * size).sum(), said.sum())
    assert np.isclose((raster.lost * size).sum(), (~said).sum())
    assert max(raster.answered.max(), raster.lost.max()) <= 1.0 + 1e-12
