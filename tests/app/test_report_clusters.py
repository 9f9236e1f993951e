from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from report_runs import COLUMNS, metrics_line, write_lines
from scipy.cluster.hierarchy import linkage

from app.report import write_report
from app.report.clusters.record import NOWHERE, Clusters
from app.report.plots import style
from app.report.plots.cluster_map import cluster_colors, cluster_map, cluster_map_caption
from app.report.plots.cluster_tree import likeness_figure
from app.report.reading import read_run
from models.errors import RunDirectoryError

# Four clients by round 1 to 4; ' ' is in no cluster.
PLAN = {"a": " 000", "b": " 011", "c": " 101", "d": " 1 0"}
CONCEPTS = {"a": "x", "b": "y", "c": "y", "d": ""}
AFTER = {"a": 0.5, "b": 0.75, "c": 0.25, "d": 1.0}
POINTS = np.array([[0.0, 1.0], [1.0, 0.1], [1.0, 0.0], [0.1, 1.0]])


def run_in(folder: Path, plan: dict[str, str], concepts: dict[str, str] | None = None) -> Path:
    folder.mkdir(parents=True)
    known = CONCEPTS if concepts is None else concepts
    rounds = len(next(iter(plan.values())))
    told = {"clusters": 2.0, "moves": 0.0, "cluster_purity": 2 / 3, "cluster_ari": -0.25}
    lines = [metrics_line(n, client_accuracy_mean=0.5, method=told) for n in range(rounds + 1)]
    write_lines(folder / "metrics.jsonl", lines)
    with (folder / "clients.csv").open("w", newline="") as out:
        table = csv.DictWriter(out, COLUMNS, restval="")
        table.writeheader()
        for client in plan:
            after = AFTER.get(client, "")
            table.writerow(
                {"client": client, "concept": known.get(client, ""), "accuracy_after": after}
            )
    rows = [(n + 1, client, line[n]) for n in range(rounds) for client, line in plan.items()
            if line[n] != " "]  # fmt: skip
    if rows:
        with (folder / "clusters.csv").open("w", newline="") as out:
            csv.writer(out).writerows([("round", "client", "cluster"), *rows])
    return folder


def drawing(cut: object = 1.0) -> dict[str, object]:
    unit = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)
    return {
        "clients": list(PLAN), "similarity": (unit @ unit.T).tolist(),
        "linkage": linkage(POINTS, "ward").tolist(), "leaves": list(PLAN), "cut": cut,
    }  # fmt: skip


def read(folder: Path) -> Clusters:
    clusters = read_run(folder).clusters
    assert clusters is not None
    return clusters


def section(folder: Path) -> str:
    text = write_report(folder).read_text()
    start = text.index("<h2>Clusters</h2>")
    return re.sub(r"base64,[^\"]+", "", text[start : text.index("<h2>", start + 5)])


def table_of(part: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", part)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def test_the_file_is_read_in_the_order_of_final_clusters(tmp_path: Path) -> None:
    clusters = read(run_in(tmp_path / "run", PLAN))
    assert clusters.clients == ("d", "a", "b", "c")  # in cluster 0 the unknown concept first
    assert clusters.concepts == ("", "x", "y", "y")
    assert (clusters.first, clusters.last) == (1, 4)
    assert clusters.assignment.tolist() == [
        [NOWHERE, 1, NOWHERE, 0],
        [NOWHERE, 0, 0, 0],
        [NOWHERE, 0, 1, 1],
        [NOWHERE, 1, 0, 1],
    ]
    # A move is told from the last cluster a client was in, also over rounds in none.
    assert clusters.moves.astype(int).tolist() == [
        [0, 0, 0, 1],
        [0, 0, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 1, 1],
    ]
    assert clusters.members(0) == ["d", "a"]


def test_the_newest_of_a_round_counts_and_what_is_no_assignment_does_not(tmp_path: Path) -> None:
    folder = run_in(tmp_path / "run", PLAN)
    with (folder / "clusters.csv").open("a") as out:
        out.write("4,a,7\n9,a,3\n4,@all,3\n4,b,-2\n4,c,1e40\nx,c,1\n4,late,1\n4,b")
    clusters = read(folder)
    final = dict(zip(clusters.clients, clusters.final.tolist(), strict=True))
    assert final == {"a": 7, "b": 1, "c": 1, "d": 0, "late": 1}
    assert clusters.last == 4


def test_the_page_says_it_in_numbers(tmp_path: Path) -> None:
    folder = run_in(tmp_path / "run", PLAN)
    part = section(folder)
    assert "2 clusters after round 4; 3 clients moved between clusters, 4 times in all." in part
    assert "purity 66.7 %, adjusted Rand index −0.250" in part
    assert table_of(part) == [
        ["Cluster", "Clients", "Concepts", "Members", "Mean accuracy", "Worst client"],
        ["0", "d, a", "unknown: 1, x: 1", "2", "75.0 %", "50.0 %"],
        ["1", "b, c", "y: 2", "2", "50.0 %", "25.0 %"],
    ]
    assert 'id="clusters"' in part
    assert 'id="likeness"' not in part
    with Image.open(folder / "plots" / "clusters.png") as picture:
        assert picture.width >= 1000


def test_without_the_truth_there_is_no_column_and_who_is_in_none_comes_last(tmp_path: Path) -> None:
    plan = {f"n{i}": "3" for i in range(10)} | {"late": " "}
    folder = run_in(tmp_path / "run", plan, {})
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    write_lines(folder / "metrics.jsonl", [line | {"method": {}} for line in lines])
    part = section(folder)
    assert "1 cluster after round 1; no client ever moved." in part
    assert "purity" not in part
    assert table_of(part) == [
        ["Cluster", "Clients", "Members", "Mean accuracy", "Worst client"],
        ["3", "n0, n1, n2, n3, n4, n5, n6, n7 and 2 more", "10", "–", "–"],
        ["none", "late", "1", "–", "–"],
    ]


@pytest.mark.parametrize("content", [None, "", "round,client,cluster\n", "nothing\nof it\n"])
def test_a_run_without_clusters_has_no_section(tmp_path: Path, content: str | None) -> None:
    folder = run_in(tmp_path / "run", {"a": "  "})
    if content is not None:
        (folder / "clusters.csv").write_text(content)
    (folder / "clusters.json").write_text(json.dumps(drawing()))
    text = write_report(folder).read_text()
    assert "<h2>Clusters</h2>" not in text
    assert not (folder / "plots" / "clusters.png").exists()


def test_a_table_that_is_none_is_named(tmp_path: Path) -> None:
    folder = run_in(tmp_path / "run", PLAN)
    with (folder / "clusters.csv").open("a") as out:
        out.write(f'4,"{"x" * 200_000}",1\n')
    with pytest.raises(RunDirectoryError, match=r"clusters\.csv"):
        read_run(folder)


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", "{}", "null", '{"clients": 3}', '{"clients": ["a"], "similarity": "x"}',
        '{"clients": ["a", "b"], "similarity": [[1, 0]]}',
        '{"clients": ["a", "b"], "similarity": [[1, NaN], [0, 1]]}',
        '{"clients": ["a", "b"], "similarity": [], "linkage": [[0, 9, 1.0, 2]]}',
        '{"clients": ["a", "b"], "similarity": [[1], [0, 1]], "linkage": [[0]]}',
    ],
)  # fmt: skip
def test_a_broken_drawing_is_left_out(tmp_path: Path, content: str) -> None:
    folder = run_in(tmp_path / "run", PLAN)
    (folder / "clusters.json").write_text(content)
    clusters = read(folder)
    assert clusters.likeness is None
    assert likeness_figure(clusters) is None


def test_one_part_of_a_drawing_does_without_the_other(tmp_path: Path) -> None:
    folder = run_in(tmp_path / "run", PLAN)
    for gone, title in (("linkage", "Similarity"), ("similarity", "Tree of updates")):
        (folder / "clusters.json").write_text(json.dumps(drawing() | {gone: []}))
        figure = likeness_figure(read(folder))
        assert figure is not None
        assert [a.get_title("left") for a in figure.axes if a.get_title("left")] == [title]


def test_the_page_shows_tree_cut_and_similarities(tmp_path: Path) -> None:
    folder = run_in(tmp_path / "run", PLAN)
    (folder / "clusters.json").write_text(json.dumps(drawing(cut=0.9)))
    part = section(folder)
    assert 'id="likeness"' in part
    assert "Tree of the updates of 4 clients, cut at 0.9" in part
    figure = likeness_figure(read(folder))
    assert figure is not None
    tree, heat = figure.axes[:2]
    assert [line.get_ydata()[0] for line in tree.lines] == [0.9]  # type: ignore[index]
    names = [label.get_text() for label in tree.get_xticklabels()]
    assert {frozenset(names[:2]), frozenset(names[2:])} == {frozenset("ad"), frozenset("bc")}
    unit = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)
    order = [3, 0, 1, 2]  # d, a, b, c as on the map
    assert np.allclose(heat.images[0].get_array(), (unit @ unit.T)[np.ix_(order, order)])


@pytest.mark.parametrize(("cut", "height"), [(0.9, 0.9), (1e9, 1.5)])
def test_a_cut_far_above_leaves_the_tree_to_be_seen(
    tmp_path: Path, cut: float, height: float
) -> None:
    folder = run_in(tmp_path / "run", PLAN)
    said = drawing(cut) | {"linkage": [[1, 2, 0.1, 2], [0, 3, 0.2, 2], [4, 5, 1.0, 4]]}
    (folder / "clusters.json").write_text(json.dumps(said))
    figure = likeness_figure(read(folder))
    assert figure is not None
    assert figure.axes[0].lines[0].get_ydata()[0] == height  # type: ignore[index]
    assert figure.axes[0].get_ylim()[1] < 2


def test_each_cell_of_the_map_has_the_colour_of_its_cluster(tmp_path: Path) -> None:
    clusters = read(run_in(tmp_path / "run", PLAN))
    colors = cluster_colors(clusters)
    zero, one, none = to_rgb(colors[0]), to_rgb(colors[1]), to_rgb(style.GRID)
    figure = cluster_map(clusters)
    cells = figure.axes[0]
    expected = [[none, one, none, zero], [none, zero, zero, zero], [none, zero, one, one],
                [none, one, zero, one]]  # fmt: skip
    assert np.allclose(cells.images[0].get_array(), expected)
    dots = np.asarray(cells.collections[0].get_offsets())
    assert {(x, y) for x, y in dots.tolist()} == {(4, 0), (3, 2), (3, 3), (4, 3)}
    moves = figure.axes[-1]
    assert [bar.get_height() for bar in moves.patches] == [0, 0, 2, 2]


def large(clients: int, rounds: int, numbers: int) -> Clusters:
    final = np.sort(np.arange(clients) % numbers)
    assignment = np.repeat(final[:, None], rounds, axis=1)
    assignment[::3, : rounds // 2] = NOWHERE
    names = tuple(f"client-{i}" for i in range(clients))
    return Clusters(names, tuple(str(n) for n in final), 1, assignment)


@pytest.mark.parametrize(
    ("clients", "rounds", "numbers", "cells"),
    [(1, 1, 1, (1, 1)), (200, 30, 4, (200, 30)), (1_000, 900, 30, (334, 450))],
)
def test_any_size_can_be_drawn(
    clients: int, rounds: int, numbers: int, cells: tuple[int, int]
) -> None:
    clusters = large(clients, rounds, numbers)
    figure = cluster_map(clusters)
    assert isinstance(figure, Figure)
    image = np.asarray(figure.axes[0].images[0].get_array())
    assert image.shape[:2] == cells
    colors = cluster_colors(clusters)
    # The commonest of a block: in the first half of the rounds one client in three is in none.
    assert np.allclose(image[0, 0], to_rgb(style.GRID if clients == 200 else colors[0]))
    assert np.allclose(image[-1, -1], to_rgb(colors[numbers - 1]))
    together = "up to 3 clients by 2 rounds" in cluster_map_caption(clusters)
    assert together == (clients == 1_000)
    assert figure.get_size_inches()[1] < 9


def test_a_name_from_outside_stays_text(tmp_path: Path) -> None:
    evil = "<b>$x$</b>"
    part = section(run_in(tmp_path / "run", {evil: "01"}, {evil: "<i>"}))
    assert "<b>" not in part
    assert "<i>" not in part
    assert "&lt;b&gt;" in part
