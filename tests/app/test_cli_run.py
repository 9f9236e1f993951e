"""``bouquet run`` against a ``flwr`` that only pretends."""

from __future__ import annotations

import io
import json
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_catalogue import FakeCatalogue
from rich.console import Console
from typer.testing import CliRunner

from app.cli import main
from app.cli.display import LiveDisplay, PlainDisplay, choose_display, describe_round
from app.cli.launch import ended_like_ctrl_c, judge
from app.cli.run_files import Progress, RunFiles

ROOT = Path(__file__).parents[2]
ROUND = {
    "round": 1,
    "train_loss": 0.75,
    "loss": 0.5,
    "accuracy": 0.875,
    "client_accuracy_mean": 0.8,
    "client_accuracy_worst": 0.25,
    "seconds": 2.0,
    "bytes_up": 10,
    "bytes_down": 20,
    "clients_asked": 4,
    "clients_answered": 3,
    "rejected": [{"client": "c", "round": 1, "code": "nan", "detail": "x"}],
}
BEFORE = {"round": 0, "train_loss": None, "loss": 2.0, "accuracy": 0.1, "rejected": []}

# The script is given its own behaviour as Python text, run with `run_dir` and `write` at hand.
FLWR = """\
#!{python}
import json, os, sys, time, tomllib
from pathlib import Path
config_file = Path(sys.argv[sys.argv.index("-c") + 1])
config = tomllib.loads(config_file.read_text())
run_dir = Path(config["out-dir"]) / config["run-name"]
def write(name, *objects):
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / name).write_text("".join(json.dumps(o) + "\\n" for o in objects))
Path({record!r}).write_text(json.dumps({{
    "argv": sys.argv[1:], "config": config, "config_file": str(config_file),
    "mode": config_file.parent.stat().st_mode & 0o777,
    "install": os.environ.get("FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"),
}}))
print("Successfully started run 4711")
{behaviour}
"""
FINISHED = f"""
write("metrics.jsonl", {BEFORE!r}, {ROUND!r})
write("status.json", dict(state="finished", code=0, message="done"))
"""


class Stage:
    """A working place with a fake ``flwr`` and a place for runs."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.runs = folder / "runs"
        self.record = folder / "record.json"
        self.bin.mkdir()

    def flwr(self, behaviour: str) -> None:
        script = FLWR.format(
            python=REAL_PYTHON,
            record=str(self.record),
            behaviour=textwrap.dedent(behaviour),
        )
        path = self.bin / "flwr"
        path.write_text(script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def run(self, *words: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["run", f"out-dir={self.runs}", *words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    @property
    def seen(self) -> dict[str, object]:
        seen: dict[str, object] = json.loads(self.record.read_text())
        return seen


REAL_PYTHON = sys.executable


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    # The command looks for flwr beside its own interpreter first.
    monkeypatch.setattr(sys, "executable", str(stage.bin / "python"))
    monkeypatch.setitem(sys.modules, "app.registry", SimpleNamespace(registry=FakeCatalogue))
    monkeypatch.setenv("COLUMNS", "200")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield stage
    assert list(temporary.iterdir()) == [], "a temporary file that may hold secrets was left"


def test_a_run_that_finishes(stage: Stage) -> None:
    stage.flwr(FINISHED)
    code, output = stage.run("run-name=mine", "num-server-rounds=1", "fedopt", "seed=7")
    assert code == 0, output
    lines = output.splitlines()
    assert "before training  loss 2.000  accuracy 0.100" in lines
    assert (
        "round 1/1        clients 3/4  train loss 0.750  loss 0.500  accuracy 0.875  "
        "clients' mean 0.800 worst 0.250  2.0 s  rejected 1"
    ) in lines
    assert lines[0] == "fedopt > fedavg with lora on digits: 1 rounds"
    assert f"run directory: {stage.runs / 'mine'}" in lines[1:-1]
    assert lines[-1] == f"run directory: {stage.runs / 'mine'}"


def test_what_flwr_is_given(stage: Stage) -> None:
    stage.flwr(FINISHED)
    federation = "num-supernodes=2 client-resources-num-cpus=1"
    code, _ = stage.run(
        "run-name=mine", "seed=7", "batch-size=16", "adapter-args=rank=4, token=s3cr3t",
        "--on", "lab", "--federation-config", federation,
    )  # fmt: skip
    assert code == 0
    seen = stage.seen
    assert seen["argv"] == [
        "run", str(ROOT), "lab", "-c", seen["config_file"], "--stream",
        "--federation-config", federation,
    ]  # fmt: skip
    assert seen["config"] == {
        "seed": 7,
        "adapter-args": "rank=4, token=s3cr3t",
        "run-name": "mine",
        "out-dir": str(stage.runs),
    }
    assert seen["install"] == "1"
    assert seen["mode"] == 0o700
    assert not Path(str(seen["config_file"])).exists()


def test_a_secret_is_not_announced(stage: Stage) -> None:
    stage.flwr(FINISHED)
    code, output = stage.run("adapter-args=rank=4, token=s3cr3t")
    assert code == 0
    assert "s3cr3t" not in output
    assert 'adapter-args = rank=4, token="***"' in output


def test_a_run_without_a_name_gets_one(stage: Stage) -> None:
    stage.flwr(FINISHED)
    code, _ = stage.run()
    assert code == 0
    (run_dir,) = stage.runs.iterdir()
    assert run_dir.name.startswith("fedavg-digits-20")


@pytest.mark.parametrize("given", [3, 5, 1])
def test_a_failed_run_returns_its_code(stage: Stage, given: int) -> None:
    stage.flwr(f"""
        print("\\x1b[31mline before the end\\x1b[0m")
        write("status.json", dict(state="failed", code={given}, message="no column 'label'"))
    """)
    code, output = stage.run("run-name=mine")
    assert code == given
    assert f"the run failed (code {given}): no column 'label'" in output
    assert "  line before the end\n" in output


def test_a_failure_never_returns_0(stage: Stage) -> None:
    stage.flwr('write("status.json", dict(state="failed", code=0, message="odd"))')
    assert stage.run()[0] == 1


def test_a_run_that_dies_midway(stage: Stage) -> None:
    stage.flwr("""
        write("status.json", dict(state="running", code=0, message=""))
        print("Killed")
    """)
    code, output = stage.run()
    assert code == 1
    assert "flwr ended (code 0) but status.json still says 'running'" in output
    assert "Killed" in output


def test_a_run_that_never_began(stage: Stage) -> None:
    stage.flwr("""
        print("[code: 15] Invalid run configuration")
        sys.exit(4)
    """)
    code, output = stage.run()
    assert code == 4
    assert "flwr ended (code 4) and the run wrote no status.json here" in output
    assert "[code: 15] Invalid run configuration" in output


def test_flwr_failing_after_the_run_finished_does_not_matter(stage: Stage) -> None:
    stage.flwr(FINISHED + "sys.exit(9)")
    assert stage.run()[0] == 0


def test_a_log_stream_that_hangs_is_left(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.run._GRACE_SECONDS", 0.1)
    stage.flwr(FINISHED + "time.sleep(60)")
    start = time.monotonic()
    assert stage.run()[0] == 0
    assert time.monotonic() - start < 20


def test_a_run_directory_in_use_is_refused(stage: Stage) -> None:
    stage.flwr(FINISHED)
    assert stage.run("run-name=mine")[0] == 0
    stage.record.unlink()
    code, output = stage.run("run-name=mine")
    assert code == 6
    assert f"{stage.runs / 'mine'} holds a run already; continue it with resume=true" in output
    assert not stage.record.exists()


def test_the_status_of_an_earlier_run_is_not_taken_for_this_one(stage: Stage) -> None:
    stage.flwr(FINISHED)
    assert stage.run("run-name=mine")[0] == 0
    stage.flwr("sys.exit(0)")
    code, output = stage.run("run-name=mine", "resume=true")
    assert code == 1
    assert "the run wrote no status.json here" in output
    assert "accuracy" not in output.partition("last lines")[0]


def test_wrong_settings_start_nothing(stage: Stage) -> None:
    stage.flwr(FINISHED)
    code, output = stage.run("learnin-rate=1", "num-clients=many")
    assert code == 2
    assert "2 errors in the configuration:" in output
    assert "learnin-rate = 1: no such setting; did you mean 'learning-rate'?" in output
    assert 'num-clients = "many" (a text): must be an integer, at least 1' in output
    assert not stage.record.exists()


def test_an_unknown_preset(stage: Stage) -> None:
    code, output = stage.run("digts")
    assert code == 2
    assert "no preset 'digts'; did you mean 'digits'?" in output


def test_no_flwr(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(stage.bin))
    code, output = stage.run()
    assert code == 2
    assert "the command 'flwr' was not found" in output


def test_ctrl_c_stops_following_and_says_how_to_stop_the_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.flwr("""
        write("status.json", dict(state="running", code=0, message=""))
        time.sleep(60)
    """)

    def sleep(_seconds: float) -> None:
        real_sleep(0.02)
        if (stage.runs / "mine" / "status.json").exists():
            raise KeyboardInterrupt

    real_sleep = time.sleep
    start = time.monotonic()
    monkeypatch.setattr("app.cli.run.time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    code, output = stage.run("run-name=mine", "--on", "lab")
    assert code == 130
    assert "No longer following; the run goes on." in output
    assert "Stop it with: flwr stop 4711 lab" in output
    assert time.monotonic() - start < 20, "flwr was waited for"


def test_no_status_from_another_machine() -> None:
    outcome = judge(None, 0, "lab")
    assert outcome.code == 1
    assert "if SuperLink 'lab' is on another machine, its status.json is there" in outcome.message


def test_files_from_before_are_old(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text('{"round": 0}\n{"round": 1}\n{"round": 2}\n')
    files = RunFiles(tmp_path)
    assert files.new_rounds() == []
    with metrics.open("a") as out:
        out.write('{"round": 3}\n{"round"')
    assert files.new_rounds() == [{"round": 3}]
    with metrics.open("a") as out:
        out.write(": 4}\n")
    assert files.new_rounds() == [{"round": 4}]
    metrics.write_text('{"round": 0}\n')
    assert files.new_rounds() == []
    metrics.write_text('{"round": 0}\n{"round": 1}\n')
    assert files.new_rounds() == [{"round": 1}]


def test_progress_that_is_not_there_or_not_whole(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    assert files.progress() is None
    (tmp_path / "progress.json").write_text('{"round": 1')
    assert files.progress() is None
    (tmp_path / "progress.json").write_text('{"round": 1, "rounds": 2, "done": 3}')
    assert files.progress() is None
    (tmp_path / "progress.json").write_text('{"round": 1, "rounds": 2, "done": 3, "asked": 4}')
    assert files.progress() == Progress(1, 2, 3, 4)
    (tmp_path / "progress.json").write_text(
        '{"round": 1, "rounds": 2, "done": 3, "asked": 4, "action": "train"}'
    )
    assert files.progress() == Progress(1, 2, 3, 4, "train")


def test_a_round_without_a_server_test_set() -> None:
    metrics = ROUND | {"loss": None, "accuracy": None, "rejected": []}
    assert describe_round(metrics, 12) == (
        "round 1/12       clients 3/4  train loss 0.750  loss -  accuracy -  "
        "clients' mean 0.800 worst 0.250  2.0 s"
    )


def test_the_live_display_shows_clients_scores_and_time_left() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=160, color_system=None)
    display = choose_display(console, 5)
    assert isinstance(display, LiveDisplay)
    with display:
        display.round_done(BEFORE)
        display.round_done(ROUND)
        display.progress(Progress(2, 5, 10, 20))
        display._bar.refresh()
    text = out.getvalue()
    assert "round 2/5" in text
    assert "10/20 clients" in text
    assert "loss 0.500 accuracy 0.875" in text
    assert "0:07 left" in text  # 3.5 rounds of 2 seconds


def test_the_bar_does_not_go_back_while_clients_evaluate() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    display = LiveDisplay(console, 5)
    with display:
        display.progress(Progress(1, 5, 20, 20, "train"))
        assert display._bar.tasks[0].completed == 1
        display.progress(Progress(1, 5, 2, 20, "evaluate"))
        assert display._bar.tasks[0].completed == 1
        assert display._bar.tasks[0].fields["clients"] == "evaluate 2/20 clients"


def test_logs_are_plain() -> None:
    assert isinstance(choose_display(Console(file=io.StringIO()), 5), PlainDisplay)


def test_help_tells_the_exit_codes() -> None:
    result = CliRunner().invoke(main, ["run", "--help"])
    assert result.exit_code == 0
    text = " ".join(result.output.split())
    assert "2 configuration; 3 data; 4 model or adapter" in text


def test_settings_are_listed() -> None:
    result = CliRunner().invoke(main, ["settings"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "learning-rate" in result.output
    assert "a finite number, above 0" in result.output


def test_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.commands.version", lambda name: f"{name} 1.2.3")
    result = CliRunner().invoke(main, ["--version"])
    assert (result.exit_code, result.output) == (0, "bouquet fedbouquet 1.2.3\n")


def test_the_command_line_starts_without_the_heavy_packages() -> None:
    code = (
        "import sys, app.cli; print([m for m in ('torch', 'datasets', 'flwr') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_being_told_to_end_is_ctrl_c_unless_it_is_ignored() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), ended_like_ctrl_c():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    nohup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_like_ctrl_c():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, nohup)
