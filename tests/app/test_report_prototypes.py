"""The map of prototypes in the report: from the run's tables, and nothing where there are none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from report_runs import metrics_line, minimal_run, write_lines
from safetensors.numpy import save_file

from app.report import write_report
from app.report.plots.method import method_figure
from app.report.plots.prototypes import prototype_figure, prototype_words
from app.report.reading import read_run
from models.errors import RunDirectoryError


def run_of(folder: Path, tables: Mapping[str, np.ndarray]) -> Path:
    folder.mkdir()
    told = [
        {"class_separation": 1.0, "class_spread": 3.0, "client_spread": 2.0, "accuracy_head": 0.5},
        {"class_separation": 4.0, "class_spread": 1.5, "client_spread": 1.0, "accuracy_head": 0.6},
    ]
    lines = [metrics_line(0), *(metrics_line(i, method=m) for i, m in enumerate(told, start=1))]
    write_lines(folder / "metrics.jsonl", lines)
    save_file(dict(tables), folder / "artifacts.safetensors")
    return folder


def tables() -> dict[str, np.ndarray]:
    """Three classes in a plane of five dimensions; the third one comes in the second round."""
    first = np.zeros((3, 5), np.float32)
    first[0, 1], first[1, 3] = 2, 1
    first[2] = np.nan
    second = 2 * first
    second[2] = [0, -4, 0, 0, 0]
    return {"rounds/000001": first, "rounds/000002": second, "anchors": np.ones((3, 5), np.float32)}


def test_the_map_shows_the_plane_in_which_prototypes_lie(tmp_path: Path) -> None:
    record = read_run(run_of(tmp_path / "run", tables()))
    figure = prototype_figure(record)
    assert figure is not None
    ways, distances = figure.axes
    names = [text.get_text() for text in ways.texts]
    assert {"0", "1", "2"} < set(names)
    # Class 0 moves by 2 and class 1 by 1, at right angles: nothing is lost in the projection.
    paths = [line.get_xydata() for line in ways.lines if len(line.get_xdata()) == 2]
    moved = sorted(float(np.linalg.norm(path[1] - path[0])) for path in paths)
    assert pytest.approx(2.0, abs=1e-5) in moved
    assert pytest.approx(1.0, abs=1e-5) in moved
    assert len(distances.lines) == 3
    told, caption = prototype_words(record)
    assert told.endswith(
        "between classes 4.000, within a class, at a client 1.500, "
        "within a class, between clients 1.000"
    )
    assert "100% of all variance" in caption
    # What is drawn here is not drawn among the method's other figures.
    others = method_figure(record)
    assert others is not None
    assert len(others.axes) == 1


def test_the_picture_is_in_the_page(tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", tables())
    assert 'id="prototypes"' in write_report(folder).read_text()
    assert (folder / "plots" / "prototypes.png").stat().st_size > 1000


def test_one_class_or_one_dimension_is_drawn_too(tmp_path: Path) -> None:
    single = {"rounds/000001": np.full((1, 1), 3.0, np.float32)}
    assert prototype_figure(read_run(run_of(tmp_path / "one", single))) is not None


def test_without_tables_there_is_no_map_and_a_broken_file_is_named(tmp_path: Path) -> None:
    folder = minimal_run(tmp_path / "run")
    assert prototype_figure(read_run(folder)) is None
    unknown = {"rounds/000001": np.full((2, 3), np.nan, np.float32)}
    assert prototype_figure(read_run(run_of(tmp_path / "unknown", unknown))) is None
    (folder / "artifacts.safetensors").write_bytes(b"nothing")
    with pytest.raises(RunDirectoryError, match="no safetensors file"):
        read_run(folder)
