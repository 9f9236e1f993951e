"""The method's own figures in the report: curves, layers, and nothing where there are none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from report_runs import metrics_line, minimal_run, write_lines

from app.report import write_report
from app.report.plots.method import method_figure, method_words
from app.report.reading import read_run

Q, V = (f"base_model.model.encoder.layer.0.attention.{name}" for name in ("query", "value"))


def run_of(folder: Path, *rounds: Mapping[str, object]) -> Path:
    """A run whose rounds tell these figures, from round 1 on."""
    folder.mkdir()
    lines = [metrics_line(0), *(metrics_line(i, method=m) for i, m in enumerate(rounds, start=1))]
    write_lines(folder / "metrics.jsonl", lines)
    return folder


def panels(folder: Path) -> list[Axes]:
    figure = method_figure(read_run(folder))
    assert figure is not None
    return list(figure.axes)


def points(axes: Axes) -> list[tuple[float, float]]:
    (line,) = axes.lines
    return [(float(x), float(y)) for x, y in zip(*line.get_data(), strict=True)]


def test_a_curve_for_each_total_and_bars_for_the_layers_of_the_last_round(tmp_path: Path) -> None:
    folder = run_of(
        tmp_path / "run",
        {"aggregation_error": 0.4, f"aggregation_error/{Q}": 0.9, "beta": 0.5},
        {
            "aggregation_error": 0.3,
            f"aggregation_error/{Q}": 0.1,
            f"aggregation_error/{V}": 0.2,
            "beta": 0.25,
        },
    )
    error, beta, layers = panels(folder)
    assert points(error) == [(1, 0.4), (2, 0.3)]
    assert points(beta) == [(1, 0.5), (2, 0.25)]
    names = [label.get_text() for label in layers.get_yticklabels()]
    assert names == ["value", "query"]  # the largest on top
    assert [bar.get_width() for bar in layers.patches] == [0.2, 0.1]
    told, caption = method_words(read_run(folder))
    assert told.endswith("in the end aggregation_error 0.300, beta 0.250")
    assert "exact mean" in caption


def test_the_picture_is_in_the_page_with_its_words(tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", {"aggregation_error": 0.4})
    page = write_report(folder).read_text()
    assert (folder / "plots" / "method.png").stat().st_size > 1000
    assert 'id="method"' in page
    assert "in the end aggregation_error 0.400" in page


def test_an_exact_method_is_called_exact_and_its_rounding_is_not_drawn(tmp_path: Path) -> None:
    figures = {"aggregation_error": 3e-8, f"aggregation_error/{Q}": 4e-8}
    folder = run_of(tmp_path / "run", figures)
    (error,) = panels(folder)
    assert error.get_ylim()[1] >= 0.02
    assert method_words(read_run(folder))[0].endswith("aggregation_error exact")


def test_many_layers_are_cut_to_the_largest(tmp_path: Path) -> None:
    figures = {f"aggregation_error/h.{i}.q": i / 100 for i in range(64)}
    folder = run_of(tmp_path / "run", {"aggregation_error": 0.5, **figures})
    _, layers = panels(folder)
    names = [label.get_text() for label in layers.get_yticklabels()]
    assert names[:2] == ["63.q", "62.q"]
    assert len(names) == 12
    texts = [text.get_text() for text in layers.texts]
    assert any("The 12 largest of 64, round 1" in text for text in texts)


def test_figures_without_a_total_of_their_own_draw_no_layers(tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", {"beta": 0.5})
    assert len(panels(folder)) == 1
    assert method_words(read_run(folder))[1] == ""


@pytest.mark.parametrize(
    "said", [{}, None, [1], {"aggregation_error": None}, {"beta": "much"}, {"beta": float("nan")}]
)
def test_nothing_is_drawn_where_nothing_was_told(tmp_path: Path, said: object) -> None:
    folder = minimal_run(tmp_path / "run")
    write_lines(folder / "metrics.jsonl", [metrics_line(1, accuracy=0.5, method=said)])
    assert method_figure(read_run(folder)) is None
    write_report(folder)
    assert not (folder / "plots" / "method.png").exists()


def test_one_layer_keeps_the_last_part_of_its_name(tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", {"aggregation_error": 0.4, f"aggregation_error/{Q}": 0.4})
    _, layers = panels(folder)
    assert [label.get_text() for label in layers.get_yticklabels()] == ["query"]
