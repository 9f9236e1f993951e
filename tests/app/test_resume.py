"""Runs that are resumed: killed at any point, stopped by a signal, continued for more rounds."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from flwr.app import Message
from flwr.supercore.exit import exit_handler

import app.run_directory.checkpoint
import app.server.job
from app.client_app import app as client_app
from app.run_directory import Results
from app.server.federation import Federation
from app.server.job import run_job
from fedbouquet.testing import LocalGrid
from models.errors import ConfigurationError, RunDirectoryError
from models.randomness import derive_generator
from strategies.fedopt import FedOpt
from strategies.rounds.gathering import Gathering

Config = dict[str, str | int | float | bool]
Tamper = Callable[[Message, Message], Message | None]

_KILLS_A_PHASE = 6
_HOOKS: Mapping[str, tuple[tuple[object, str], ...]] = {
    "configure": ((FedOpt, "sample"), (LocalGrid, "push_messages")),
    "wait": ((LocalGrid, "pull_messages"),),
    "aggregate": ((Gathering, "add"), (Gathering, "concluded"), (FedOpt, "conclude")),
    "save": (
        (app.run_directory.checkpoint, "write_bytes"),
        (app.run_directory.checkpoint, "write_text"),
        (Results, "add"),
        (Results, "clients"),
        (app.server.job, "export_adapter"),
    ),
    "evaluate": ((Federation, "evaluate"),),
}


class Killed(BaseException):
    """The server's process ends."""


class Reaper:
    """Ends the server before or after one call of one of `_HOOKS`.

    Parameters
    ----------
    patch : pytest.MonkeyPatch
    fatal : int
        Number of the moment, from 0; -1 only counts.

    Attributes
    ----------
    moments : list of str
        The phase of each moment so far; a call has two, before and after.
    """

    def __init__(self, patch: pytest.MonkeyPatch, fatal: int = -1) -> None:
        self.fatal = fatal
        self.moments: list[str] = []
        for phase, hooks in _HOOKS.items():
            for owner, name in hooks:
                patch.setattr(owner, name, self._around(phase, getattr(owner, name)))

    def _around(self, phase: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            self._pass(phase)
            found = real(*args, **kwargs)
            self._pass(phase)
            return found

        return call

    def _pass(self, phase: str) -> None:
        self.moments.append(phase)
        if len(self.moments) - 1 == self.fatal:
            raise Killed


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.report.write_report", lambda folder: folder / "report.html")


@pytest.fixture(scope="module")
def base(bert_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    rows = "".join(f"a very {'good' if i % 2 else 'bad'} film,{i % 2}\n" for i in range(80))
    file = tmp_path_factory.mktemp("data") / "train.csv"
    file.write_text("text,label\n" + rows)
    return {
        "model": str(bert_folder),
        "dataset": str(file),
        "model-args": "max-length=8",
        "strategy": "fedopt > fedavg",
        "num-clients": 4,
        "clients-per-round": 3,
        "num-server-rounds": 3,
        "partition": "iid",
        "batch-size": 8,
        "local-steps": 1,
        "run-name": "run",
    }


@pytest.fixture
def config(base: Config, tmp_path: Path) -> Config:
    return {**base, "out-dir": str(tmp_path)}


def run(config: Config, tamper: Tamper | None = None) -> Path:
    places = [{"partition-id": i, "num-partitions": 2} for i in range(2)]
    return run_job(LocalGrid(client_app, places, config, tamper), config)


@dataclass(frozen=True)
class Left:
    """What a run leaves: bytes of the adapter and of the strategy's state, and its tables."""

    adapter: bytes
    arrays: bytes
    state: Mapping[str, object]
    rounds: list[dict[str, object]]
    clients: str
    participation: str


def _without_seconds(lines: list[str]) -> list[dict[str, object]]:
    found = [json.loads(line) for line in lines]
    for line in found:
        del line["seconds"]
    return found


def left(folder: Path) -> Left:
    last = max((folder / "checkpoints").glob("round-*"))
    state = json.loads((last / "state.json").read_text())
    del state["uid"]
    state["history"] = _without_seconds(state["history"])
    return Left(
        (folder / "adapter/adapter_model.safetensors").read_bytes(),
        (last / "state.safetensors").read_bytes(),
        state,
        _without_seconds((folder / "metrics.jsonl").read_text().splitlines()),
        (folder / "clients.csv").read_text(),
        (folder / "participation.csv").read_text(),
    )


@pytest.fixture(scope="module")
def whole(base: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[Left, list[str]]:
    """What the uninterrupted run leaves, and the moments at which it could be killed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.report.write_report", lambda folder: folder / "report.html")
        reaper = Reaper(patch)
        folder = run({**base, "out-dir": str(tmp_path_factory.mktemp("whole"))})
        return left(folder), reaper.moments


def status(config: Config) -> dict[str, object]:
    found = json.loads((Path(str(config["out-dir"])) / "run/status.json").read_text())
    assert isinstance(found, dict)
    return found


# ---- F7 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(_KILLS_A_PHASE))
@pytest.mark.parametrize("phase", _HOOKS)
def test_f7_a_killed_run_goes_on_to_the_same_bits(
    config: Config, whole: tuple[Left, list[str]], phase: str, number: int
) -> None:
    expected, moments = whole
    places = [place for place, name in enumerate(moments) if name == phase]
    fatal = int(derive_generator(7, "kill", phase).permutation(places)[number])
    with pytest.MonkeyPatch.context() as patch:
        reaper = Reaper(patch, fatal)
        with pytest.raises(Killed):
            run(config)
    assert reaper.moments == moments[: fatal + 1]
    assert status(config)["state"] == "failed"
    assert left(run({**config, "resume": True})) == expected
    assert status(config)["state"] == "finished"


def test_f7_twice_in_the_same_round(config: Config, whole: tuple[Left, list[str]]) -> None:
    expected, moments = whole
    middle = [place for place, name in enumerate(moments) if name == "aggregate"][-3]
    for resume, fatal in ((False, middle), (True, 2)):
        with pytest.MonkeyPatch.context() as patch:
            Reaper(patch, fatal)
            with pytest.raises(Killed):
                run({**config, "resume": resume})
    assert left(run({**config, "resume": True})) == expected


def test_a_damaged_newest_checkpoint_costs_a_round_not_the_run(
    config: Config, whole: tuple[Left, list[str]]
) -> None:
    run({**config, "num-server-rounds": 2})
    place = max((Path(str(config["out-dir"])) / "run/checkpoints").iterdir())
    file = place / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    assert left(run({**config, "resume": True})) == whole[0]


# ---- F18, F19 ------------------------------------------------------------------------------


def test_a_signal_is_told_and_the_run_goes_on_later(
    config: Config, whole: tuple[Left, list[str]]
) -> None:
    """Flower's exit handlers run on SIGTERM; what follows them cannot change what they wrote."""

    def stop(message: Message, reply: Message) -> Message:
        if message.metadata.message_type == "train" and not stopped:
            stopped.append(True)
            exit_handler.trigger_exit_handlers(run_before_force_exit=True)
            raise Killed
        return reply

    stopped: list[bool] = []
    with pytest.raises(Killed):
        run(config, stop)
    assert (status(config)["state"], status(config)["code"]) == ("stopped", 8)
    assert "resume=true" in str(status(config)["message"])
    assert left(run({**config, "resume": True})) == whole[0]


def test_two_servers_do_not_share_a_run_directory(config: Config) -> None:
    run({**config, "num-server-rounds": 1})
    with (Path(str(config["out-dir"])) / "run/lock").open("a+") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(RunDirectoryError, match=r"in use by another server \(pid \d+ on "):
            run({**config, "num-server-rounds": 1, "resume": True})


# ---- what may be resumed -------------------------------------------------------------------


def test_a_finished_run_can_be_resumed_for_more_rounds(config: Config) -> None:
    longer = left(run({**config, "run-name": "longer", "num-server-rounds": 4}))
    run(config)
    assert left(run({**config, "resume": True, "num-server-rounds": 4})).adapter == longer.adapter


def test_other_settings_are_another_run(config: Config) -> None:
    run({**config, "num-server-rounds": 1})
    with pytest.raises(
        ConfigurationError, match=r"learning-rate = 0.5: the run to resume had 0.01"
    ):
        run({**config, "num-server-rounds": 1, "resume": True, "learning-rate": 0.5})


def test_there_must_be_a_run_to_resume(config: Config) -> None:
    with pytest.raises(RunDirectoryError, match="no run to resume"):
        run({**config, "resume": True})
