"""Versions, ports, folders, clocks and connections, each with its remedy."""

from __future__ import annotations

import importlib.metadata
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.cli.doctor import read_node_config
from app.doctor.connection import check_clock, check_connection
from app.doctor.finding import Finding
from app.doctor.installation import (
    check_commands,
    check_folder,
    check_ports,
    check_versions,
)
from models.errors import ConfigurationError


def only(found: object) -> Finding:
    (one,) = list(found)  # type: ignore[call-overload]
    assert isinstance(one, Finding)
    return one


def test_this_installation_is_as_declared() -> None:
    assert only(check_versions()).level == "good"


def test_a_package_that_is_missing_or_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = ["numpy>=99", "no-such-package>=1", 'pytest>=99; extra == "dev"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: declared)
    one = only(check_versions())
    assert one.level == "problem"
    assert "no-such-package is not installed" in one.found
    assert "needs >=99" in one.found
    assert "pytest" not in one.found
    assert "pip install" in one.remedy


def test_a_port_that_something_else_holds_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        monkeypatch.setenv("FLWR_LOCAL_SUPERLINK_HTTP_API_PORT", str(held.getsockname()[1]))
        assert only(check_ports(Path("/app"))).level == "good"  # bound, and nobody listens
        held.listen()
        held.settimeout(0.1)
        assert only(check_ports(Path("/app"))).level == "problem"


def test_commands_of_another_environment_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "flwr"
    monkeypatch.setattr("app.doctor.installation.find_command", lambda _: str(script))
    for first, level in (
        (f"#!{Path(sys.executable).parent}/python3", "good"),
        ("#!/usr/bin/env python3", "good"),
        ("#!/none/bin/python3", "warning"),
    ):
        script.write_text(first + "\nprint()\n")
        one = only(check_commands())
        assert one.level == level
    assert "belongs to /none/bin/python3, and this is" in one.found


def test_a_port_that_is_none_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    for told in ("many", "0", "70000"):
        monkeypatch.setenv("FLWR_LOCAL_SUPERLINK_HTTP_API_PORT", told)
        assert f"is '{told}'" in only(check_ports(Path("/app"))).found


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        one = only(check_folder("out-dir", tmp_path / place))
        assert (one.level, one.found) == ("problem", f"{tmp_path / 'file'} is no folder")


def test_folders_are_checked_before_they_exist(tmp_path: Path) -> None:
    assert only(check_folder("out-dir", tmp_path / "a" / "b")).level in ("good", "warning")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(("second", "level"), [(0, "good"), (29, "good"), (50, "problem")])
def test_clocks_may_be_half_a_minute_apart(second: int, level: str) -> None:
    now = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
    one = only(check_clock("lab", f"Thu, 01 Jan 2026 12:00:{second:02} GMT", now))
    assert one.level == level
    if level == "problem":
        assert "50 s ahead of ours" in one.found


def test_a_superlink_that_is_not_named_or_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    assert "has no [superlink.lab]" in only(check_connection("lab")).found
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        (tmp_path / "config.toml").write_text(
            f'[superlink.lab]\naddress = "{address}"\ninsecure = true\n'
        )
        one = only(check_connection("lab"))
    assert one.level == "problem"
    assert f"{address} does not answer" in one.found


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("[superlink.lab", "cannot be read: "),
        ('[superlink.lab]\naddress = "here:port"\ninsecure = true', "here:port does not answer"),
        (
            '[superlink.lab]\naddress = "here:1"\nroot-certificates = "ca.crt"',
            "root-certificates 'ca.crt' is not absolute",
        ),
        (
            '[superlink.lab]\naddress = "here:1"\nroot-certificates = "/none/ca.crt"',
            "root-certificates '/none/ca.crt' does not exist",
        ),
    ],
)
def test_a_connection_that_is_written_wrongly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, said: str
) -> None:
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    (tmp_path / "config.toml").write_text(told)
    one = only(check_connection("lab"))
    assert one.level == "problem"
    assert said in one.found


def test_a_node_configuration_is_read_as_flower_reads_it() -> None:
    text = 'client-id="hospital-a" data-path="/data/a b" rank=4'
    assert read_node_config(text) == {
        "client-id": "hospital-a",
        "data-path": "/data/a b",
        "rank": 4,
    }
    with pytest.raises(ConfigurationError, match="no node configuration"):
        read_node_config("no pairs")
    with pytest.raises(ConfigurationError, match="No closing quotation"):
        read_node_config('client-id="a')
