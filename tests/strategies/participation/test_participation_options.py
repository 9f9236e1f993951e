"""Options of participation models, and traces from files."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from models.errors import ConfigurationError
from strategies.participation import (
    PARTICIPATIONS,
    make_participation,
    participation_names,
    participation_option_errors,
)
from strategies.participation.trace import read_trace
from strategies.transport.roster import Client


def test_names() -> None:
    names = ["always", "bernoulli", "cyclic", "events", "markov", "trace"]
    assert sorted(participation_names()) == names
    assert all(model.about for model in PARTICIPATIONS.values())
    with pytest.raises(ConfigurationError, match="did you mean 'markov'"):
        make_participation("markow")


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("always", {}, []),
        ("always", {"dropout": 0.5}, []),
        ("always", {"p": 0.5}, ["unknown option 'p'"]),
        ("always", {"dropout": 1.0}, ["dropout = 1.0"]),
        ("bernoulli", {"p": 0.5, "dropout": 0.1}, []),
        ("bernoulli", {"p": 0}, ["p = 0"]),
        ("bernoulli", {"p": "often"}, ["p = 'often'"]),
        ("bernoulli", {"spread": "uniform", "p": 0.5}, ["unknown option 'p'"]),
        ("bernoulli", {"spread": "unifrom", "dropout": 3}, ["did you mean 'uniform'", "dropout"]),
        ("bernoulli", {"spread": 3}, ["spread = 3"]),
        ("markov", {"spread": "two-groups", "slow": "from-12", "stay": 3}, []),
        ("markov", {"spread": "two-groups", "slow": "from-"}, ["slow = 'from-'"]),
        ("markov", {"stay": 3, "join": 0.1}, ["join = 0.1: .*stay is given too"]),
        (
            "markov",
            {"spread": "uniform", "low": 0.7, "high": 0.3, "stay": 0.5, "hihg": 1},
            ["at least low = 0.7", "stay = 0.5", "did you mean 'high'"],
        ),
        ("cyclic", {"period": 0, "offset": "late"}, ["period = 0", "offset = 'late'"]),
        ("cyclic", {"spread": "group"}, ["column = '': .*name a group column"]),
        ("trace", {}, ["file = '': .*absolute path"]),
        ("trace", {"file": "trace.csv"}, ["file = 'trace.csv': .*absolute path"]),
        ("trace", {"file": "/nowhere.csv"}, []),
    ],
)
def test_all_errors_at_once(name: str, options: dict[str, object], expected: list[str]) -> None:
    found = participation_option_errors(name, options)
    assert len(found) == len(expected)
    for pattern in expected:
        assert any(re.search(pattern, line) for line in found), (pattern, found)
    if expected:
        with pytest.raises(ConfigurationError) as caught:
            make_participation(name, options, labels=("a", "b"))
        assert caught.value.errors == [f"participation-args: {name}: {line}" for line in found]


def trace(folder: Path, text: str) -> Path:
    file = folder / "trace.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_trace_says_who_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = trace(tmp_path, "client,from,to\na,1,3\nb,2,2\na,5,\n\n")
    model = make_participation("trace", {"file": str(file), "dropout": 0.2}, seed=1)
    clients = [Client(name, 0) for name in "ab"]
    with caplog.at_level(logging.WARNING):
        there = ["".join(sorted(model.available(k, clients))) for k in range(1, 8)]
    assert there == ["a", "ab", "a", "", "a", "a", "a"]
    assert not caplog.records
    assert model.probability(clients[0]) is None
    assert not model.everybody
    leaving = [model.drops_out(k, "a") for k in range(2000)]
    assert 330 < sum(leaving) < 470


def test_a_trace_in_another_order_with_more_columns(tmp_path: Path) -> None:
    file = trace(
        tmp_path, '\ufeffto,why, client ,from\n9,x,"a, b",4\n'.replace(" client ", "client")
    )
    assert read_trace(file) == {"a, b": [(4, 9)]}


def test_strangers_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = trace(tmp_path, "client,from,to\na,1,3\n" + "".join(f"x{k},1,2\n" for k in range(7)))
    model = make_participation("trace", {"file": str(file)})
    for server_round in (1, 2):
        assert model.available(server_round, [Client("a", 0), Client("b", 0)]) == {"a"}
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"participation trace '{file}' names 7 clients that are not there: x0, x1, x2, x3, x4, ...",
        f"participation trace '{file}' leaves out 1 clients, who will never take part: b",
    ]


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("", ["line 1: no column client and no column from and no column to (found: nothing)"]),
        ("client,start,to\na,1,2\n", ["line 1: no column from (found: client, start, to)"]),
        ("client,from,to\n", ["has no line after the first"]),
        (
            "client,from,to\na,0,2\na,1,2\n,1,2\na,3,2\na,x,2\na,1,2.5\na,1,2,3\na,-1,2\na\n",
            [
                "line 2: from = '0' is no round; allowed: a whole number from 1",
                "line 4: client is empty",
                "line 5: to = 2 lies before from = 3",
                "line 6: from = 'x' is no round",
                "line 7: to = '2.5' is no round",
                "line 8: has more cells than the first line",
                "line 9: from = '-1' is no round",
                "line 10: from = '' is no round",
            ],
        ),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, text: str, errors: list[str]) -> None:
    file = trace(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        make_participation("trace", {"file": str(file)})
    assert len(caught.value.errors) == len(errors)
    for expected, found in zip(errors, caught.value.errors, strict=True):
        assert found.startswith(f"participation trace '{file}'")
        assert expected in found


def test_many_wrong_lines_are_counted(tmp_path: Path) -> None:
    file = trace(tmp_path, "client,from,to\n" + "a,0,1\n" * 50)
    with pytest.raises(ConfigurationError) as caught:
        read_trace(file)
    assert len(caught.value.errors) == 21
    assert caught.value.errors[-1] == f"participation trace '{file}': 30 more lines are wrong"


def test_unreadable_traces(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read: .*No such file"):
        read_trace(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"client,from,to\n\xff\xfe,1,2\n")
    with pytest.raises(ConfigurationError, match="cannot be read: 'utf-8' codec"):
        read_trace(tmp_path / "bytes.csv")
