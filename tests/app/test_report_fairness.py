"""The report's section on fairness: figures, pictures, and text from other machines."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from report_runs import metrics_line, write_lines

from app.report import write_report
from app.report.plots.groups import group_figure
from app.report.reading import read_run
from app.report.sections.fairness import fairness_section, joint_counts
from models.fairness.counts import GroupCounts
from models.fairness.intervals import of_auc, of_share
from strategies.rounds.fairness import summarise_fairness
from strategies.transport.exchange import Reply

PICTURES = ("fairness.png", "disparity.png", "frontier.png")


def counted(seed: int, values: tuple[str, str] = ("f", "m"), classes: int = 2) -> GroupCounts:
    generator = np.random.default_rng(seed)
    groups = {"sex": generator.choice(values, 300).tolist()}
    targets = generator.integers(classes, size=300)
    said = np.where(generator.random(300) < 0.8, targets, (targets + 1) % classes)
    margins = (said * 2.0 - 1 + generator.normal(size=300)).astype(np.float32)
    return GroupCounts.of(groups, targets, said, classes, margins)


def fair_run(folder: Path, clients: dict[str, GroupCounts]) -> Path:
    folder.mkdir(parents=True)
    lines = []
    for number in range(3):
        replies = {
            name: Reply(name, "", None, 300, {}, {"group_counts": counts.to_json()})
            for name, counts in list(clients.items())[: number + 1]
        }
        found = summarise_fairness(replies)
        lines.append(metrics_line(number, groups=found.groups, fairness=found.views))
    write_lines(folder / "metrics.jsonl", lines)
    content = {name: counts.to_json(scores=False) for name, counts in clients.items()}
    (folder / "groups.json").write_text(json.dumps({"round": 2, "clients": content}))
    return folder


def test_the_section_and_its_pictures(tmp_path: Path) -> None:
    pytest.importorskip("cvxpy")
    run = fair_run(tmp_path / "run", {f"c-{k}": counted(k) for k in range(3)})
    page = write_report(run).read_text()
    for name in PICTURES:
        assert (run / "plots" / name).stat().st_size > 10_000
    section = page[page.index("<h2>Fairness</h2>") :]
    assert section.count("<img") == 4
    assert "By sex" in section
    assert "Equity-scaled AUC" in section
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["fairness"]["sex"]
    percent = f"{100 * last['equalized_odds_difference']:.1f}"
    assert re.search(rf"Equalised-odds difference, worst case.*?{percent}", section)
    assert f"Least accurate group: {last['worst_group']}" in section


def test_few_and_unknown_examples_are_told_and_not_compared(tmp_path: Path) -> None:
    groups = ["f"] * 60 + ["m"] * 60 + ["x"] * 3 + ["unknown"] * 30
    targets = np.arange(len(groups)) % 2
    said = np.where(np.arange(len(groups)) < 120, targets, 1 - targets)  # wrong for x and unknown
    said[:12] = 1 - said[:12]
    counts = GroupCounts.of({"sex": groups}, targets, said, 2)
    run = fair_run(tmp_path / "run", {"c-0": counts})
    record = read_run(run)
    assert record.rounds[-1].groups["sex"]["x"].accuracy is None
    figure = group_figure(record)
    assert figure is not None
    words = [text.get_text() for text in figure.findobj(Text)]
    assert "too few" in words
    assert any("Lowest to highest: 20.0 pp." in text for text in words)
    section = str(fairness_section(*record.fairness, []))
    assert "left out: x. Left out too: 30 examples whose group is unknown." in section
    assert "Least accurate group: f." in section


def test_without_cvxpy_only_the_frontier_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    run = fair_run(tmp_path / "run", {f"c-{k}": counted(k) for k in range(3)})
    write_report(run)
    found = {path.name for path in (run / "plots").iterdir()}
    assert {"fairness.png", "disparity.png"} <= found
    assert "frontier.png" not in found


def test_more_classes_have_no_frontier_and_no_rates(tmp_path: Path) -> None:
    run = fair_run(tmp_path / "run", {f"c-{k}": counted(k, classes=4) for k in range(3)})
    page = write_report(run).read_text()
    found = {path.name for path in (run / "plots").iterdir()}
    assert "disparity.png" in found
    assert not {"fairness.png", "frontier.png"} & found
    assert "Demographic-parity difference" in page


def test_names_from_other_machines_are_harmless(tmp_path: Path) -> None:
    evil = ("<script>x</script> $\\frac{$ \x1b[31m", "m")
    run = fair_run(tmp_path / "run", {f"c-{k}": counted(k, evil) for k in range(2)})
    page = write_report(run).read_text()
    assert "<script>" not in page
    assert not re.search("[\x00-\x08\x0b-\x1f]", page)


@pytest.mark.parametrize("content", ["{}", '{"clients": 3}', '{"clients": {"a": {"cells": 1}}}'])
def test_counts_that_cannot_be_read_are_left_out(tmp_path: Path, content: str) -> None:
    run = fair_run(tmp_path / "run", {"c-0": counted(0)})
    (run / "groups.json").write_text(content)
    assert read_run(run).counts == {}
    assert "By sex" in write_report(run).read_text()


def test_joint_counts_by_client_group_class_and_answer() -> None:
    counts = GroupCounts.of(
        {"sex": ["f", "f", "m", "m", "unknown"]},
        np.array([0, 1, 1, 1, 0]),
        np.array([0, 0, 1, 0, 0]),
        2,
    )
    found = joint_counts({"a": counts}, "sex")
    assert found is not None
    table, groups = found
    assert groups == ("f", "m")
    assert table.tolist() == [[[[1, 0], [1, 0]], [[0, 0], [1, 1]]]]


def test_intervals() -> None:
    share = of_share(0.9, 100)
    assert share is not None
    # Wilson: (p + z^2/2n -+ z sqrt(p q / n + z^2/4n^2)) / (1 + z^2/n)
    assert (share.low, share.high) == pytest.approx((0.825634, 0.944771), abs=1e-5)
    area = of_auc(0.8, 50, 50)
    assert area is not None
    # Q1 = 2/3, Q2 = 1.28/1.8: SE^2 = (0.16 + 49 (2/3 - 0.64) + 49 (0.711111 - 0.64)) / 2500
    assert area.high - area.value == pytest.approx(1.959964 * np.sqrt(4.951111 / 2500), abs=1e-6)
    assert of_share(None, 5) is of_auc(0.8, 0, 5) is None
    assert of_auc(1.0, 20, 20).high == 1.0  # type: ignore[union-attr]
