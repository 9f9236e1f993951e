"""Which runs a comparison has, and which of them are left."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from compared_runs import finished
from rich.console import Console

from app.cli.comparing.command import scenario_name
from app.cli.comparing.runs import run_cells
from app.cli.launch import Outcome
from app.compare.cells import _SCENARIO, Cell, plan_cells
from app.compare.contestants import parse_contestants
from app.compare.meaning import meanings
from app.registry import registry
from app.settings import declared_keys, parse_run_config
from fedbouquet import FedAvg, FedOpt, FedStale
from models.errors import ConfigurationError


def planned(folder: Path, methods: str = "fedavg, fedstale", **base: object) -> list[Cell]:
    return plan_cells("digits", base, parse_contestants(methods), {}, 2, folder)


def test_every_method_and_local_run_with_every_seed_on_one_partition(tmp_path: Path) -> None:
    cells = planned(tmp_path, seed=7)
    assert [(c.method, c.seed) for c in cells] == [
        ("fedavg", 7),
        ("fedstale", 7),
        ("local", 7),
        ("fedavg", 8),
        ("fedstale", 8),
        ("local", 8),
    ]
    assert {c.config["partition-seed"] for c in cells} == {7}
    assert len({c.folder for c in cells}) == 6
    assert all(c.folder == tmp_path / str(c.config["run-name"]) for c in cells)


def test_local_is_there_once_where_it_is_asked_for(tmp_path: Path) -> None:
    assert [c.method for c in planned(tmp_path, "local, fedavg")] == ["local", "fedavg"] * 2


def test_names_change_with_the_settings_and_with_nothing_else(tmp_path: Path) -> None:
    names = [c.folder.name for c in planned(tmp_path)]
    assert [c.folder.name for c in planned(tmp_path / "elsewhere", threads=1)] == names
    for other in ({"num-server-rounds": 3}, {"partition-seed": 5}, {"learning-rate": 0.1}):
        assert not set(names) & {c.folder.name for c in planned(tmp_path, **other)}


def test_a_preset_meets_the_scenario_s_clients(tmp_path: Path) -> None:
    """It brings its method; what it says of data, clients and rounds is another scenario's."""
    preset = {
        "strategy": "fedstale",
        "local-epochs": 1,
        "num-clients": 3,
        "num-server-rounds": 2,
        "label-column": "parity",
        "out-dir": str(tmp_path / "elsewhere"),
        "seed": 1,
    }
    told = parse_contestants("fedavg, preset:mine")
    base = {"num-clients": 9, "baselines": "local"}
    cells = plan_cells("digits", base, told, {"mine": preset}, 1, tmp_path)
    (mine,) = (parse_run_config(c.config, registry()) for c in cells if c.method == "preset:mine")
    assert (mine.methods, mine.local_epochs, mine.seed) == (("fedstale",), 1, 42)
    assert (mine.num_clients, mine.num_server_rounds, mine.label_column) == (9, 20, "")
    assert mine.out_dir == tmp_path
    assert mine.baselines == ()
    assert declared_keys().keys() > _SCENARIO


def test_a_preset_without_a_method_is_plain_averaging(tmp_path: Path) -> None:
    base = {"strategy": "fedstale", "strategy-args": "beta=0.2"}
    told = parse_contestants("preset:prox")
    cell, _ = plan_cells("s", base, told, {"prox": {"objective": "fedprox"}}, 1, tmp_path)
    settings = parse_run_config(cell.config, registry())
    assert (settings.methods, settings.objective) == (("fedavg",), "fedprox")


def test_options_of_a_closing_rule_are_for_methods_that_close_by_it(tmp_path: Path) -> None:
    base = {"strategy": "fedbuff", "closing-args": "size=5", "clock": "virtual"}
    cells = planned(tmp_path, "fedbuff, fedavg, async-fedstale", **base)[:4]
    given = {c.method: c.config["closing-args"] for c in cells}
    assert given == {"fedbuff": "size=5", "fedavg": "", "async-fedstale": "size=5", "local": ""}
    for cell in planned(tmp_path, "fedbuff, fedavg", closing="buffer", **base):
        assert cell.config["closing-args"] == "size=5"  # all close by what the scenario names


def test_errors_name_the_method_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        planned(tmp_path / "new", "fedavg, fedstale(beta=7), fedavgg")
    assert any(line.startswith("fedstale(beta=7): ") for line in caught.value.errors)
    assert any("fedavgg" in line and "fedavg" in line for line in caught.value.errors)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ConfigurationError, match=r"'fedavg\(\)' and 'fedavg' are the same"):
        planned(tmp_path, "fedavg, fedavg()")


def test_what_is_finished_is_not_run_and_a_failure_costs_only_its_place(tmp_path: Path) -> None:
    cells = planned(tmp_path)
    finished(cells[0], [0.5])
    cells[1].folder.mkdir()
    (cells[1].folder / "config.toml").write_text("")
    (cells[1].folder / "status.json").write_text('{"state": "stopped", "code": 8}')
    seen: list[tuple[str, int, bool]] = []

    def run(cell: Cell) -> Outcome:
        seen.append((cell.method, cell.seed, cell.begun))
        return Outcome(5, "too few answers") if cell.method == "local" else Outcome(0, "")

    out = io.StringIO()
    failed: list[str] = []
    run_cells(cells, run, Console(file=out), failed)
    assert seen[0] == ("fedstale", 42, True)
    assert ("fedavg", 42, False) not in seen
    assert len(seen) == 5
    assert failed == ["local, seed 42: too few answers", "local, seed 43: too few answers"]
    assert "6 runs, 1 finished already" in out.getvalue()


def test_what_failed_is_known_where_somebody_ends_it_all(tmp_path: Path) -> None:
    def run(cell: Cell) -> Outcome:
        if cell.method == "fedstale":
            raise KeyboardInterrupt
        return Outcome(5, "too few answers")

    failed: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run_cells(planned(tmp_path), run, Console(file=io.StringIO()), failed)
    assert failed == ["fedavg, seed 42: too few answers"]


def test_methods_are_told_in_words(tmp_path: Path) -> None:
    told = parse_contestants("fedavg, fedopt > fedstale, preset:prox")
    cells = plan_cells("s", {}, told, {"prox": {"objective": "fedprox"}}, 2, tmp_path)
    plain, both, prox, local = meanings(cells)
    assert plain.about == FedAvg.about
    assert both.about == f"fedopt: {FedOpt.about}; fedstale: {FedStale.about}"
    assert [paper[:12] for paper in both.papers] == ["Reddi et al.", "Rodio and Ne"]
    assert prox.about.startswith(f"fedavg: {FedAvg.about}; fedprox: ")
    assert (local.method, local.papers) == ("local", ("baseline",))


def test_a_scenario_is_named_by_its_presets_and_words() -> None:
    assert scenario_name([Path("conf/my scenario.toml")], ["seed=7"]) == "my-scenario-seed-7"
    assert scenario_name([], []) == "default"
    assert scenario_name([], ["digits", "out-dir=/data/x", "seed=7"]) == "digits-seed-7"
