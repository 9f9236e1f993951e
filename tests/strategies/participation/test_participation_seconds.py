"""Availability by the second: ticks of a clock, and traces of comings and goings."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ConfigurationError
from strategies.participation import ByClock, make_participation
from strategies.participation.base import Model
from strategies.transport.roster import Client

CLIENTS = [Client(f"client-{number}", 1) for number in range(4)]


def by_clock(name: str, second: float, tick: float = 10.0, **options: object) -> ByClock:
    model = make_participation(name, options, seed=5)
    assert isinstance(model, Model)
    return ByClock(model, tick, lambda: second)


def events(tmp_path: Path, *lines: str) -> str:
    file = tmp_path / "events.csv"
    file.write_text("\n".join(["client,second,event", *lines]) + "\n")
    return str(file)


def test_a_round_of_the_model_is_a_tick() -> None:
    model = make_participation("bernoulli", {"p": 0.5}, seed=5)
    for second in (0.0, 9.99, 10.0, 25.0, 1000.0):
        seen = by_clock("bernoulli", second, p=0.5).available(99, CLIENTS)
        assert seen == model.available(1 + int(second // 10), CLIENTS)


def test_a_client_that_leaves_within_its_work_is_lost() -> None:
    clock = by_clock("cyclic", 0.0, period=4, p=0.5, offset="number")
    zero, two = CLIENTS[0], CLIENTS[2]  # there in ticks 1, 2 and in ticks 3, 4
    assert not clock.lost(zero, 0.0, 19.9)
    assert clock.lost(zero, 0.0, 20.0)
    assert clock.lost(two, 0.0, 1.0)
    assert not clock.lost(two, 20.0, 39.0)


def test_dropout_is_drawn_for_each_asking() -> None:
    clock = by_clock("always", 0.0, dropout=0.3)
    lost = [clock.lost(CLIENTS[0], float(second), second + 1.0) for second in range(2000)]
    assert abs(sum(lost) / 2000 - 0.3) < 0.04
    assert not clock.drops_out(1, "client-0")
    assert clock.probability(CLIENTS[0]) == pytest.approx(0.7)


def test_everybody_always() -> None:
    clock = by_clock("always", 3.0)
    assert clock.everybody
    assert clock.next_change(3.0) == math.inf
    assert not clock.lost(CLIENTS[0], 0.0, 1e12)


@settings(deadline=None)
@given(st.floats(1e-3, 1e6), st.integers(1, 10_000))
def test_the_next_change_is_in_the_next_tick(tick: float, number: int) -> None:
    model = make_participation("bernoulli", {}, seed=5)
    assert isinstance(model, Model)
    clock = ByClock(model, tick, lambda: 0.0)
    second = clock.next_change((number - 1) * tick)
    assert second == number * tick
    assert clock.next_change(second) > second


def test_events(tmp_path: Path) -> None:
    file = events(
        tmp_path,
        "client-0,5,on",
        "client-1,0,on",
        "client-1,7,off",
        "client-1,9,on",
        "client-0,8,off",
    )
    seen = {
        second: sorted(by_clock("events", second, file=file).available(1, CLIENTS))
        for second in (0.0, 4.9, 5.0, 7.0, 8.5, 9.0, 1e6)
    }
    assert seen == {
        0.0: ["client-1"],
        4.9: ["client-1"],
        5.0: ["client-0", "client-1"],
        7.0: ["client-0"],
        8.5: [],
        9.0: ["client-1"],
        1e6: ["client-1"],
    }
    clock = by_clock("events", 0.0, tick=3600.0, file=file)
    assert [clock.next_change(s) for s in (0.0, 5.0, 8.5, 9.0)] == [5.0, 7.0, 9.0, math.inf]
    assert not clock.lost(CLIENTS[1], 0.0, 6.9)
    assert clock.lost(CLIENTS[1], 6.0, 9.5)  # away in between
    assert clock.lost(CLIENTS[3], 0.0, 1.0)
    assert clock.probability(CLIENTS[1]) is None


def test_events_said_twice_change_nothing(tmp_path: Path) -> None:
    file = events(tmp_path, "client-0,3,off", "client-0,4,on", "client-0,6,on", "client-0,9,off")
    clock = by_clock("events", 0.0, file=file)
    assert [clock.next_change(s) for s in (0.0, 4.0, 9.0)] == [4.0, 9.0, math.inf]


def test_coming_and_going_at_one_second_is_refused(tmp_path: Path) -> None:
    file = events(tmp_path, "client-0,3,on", "client-0,3,on", "client-1,7,off", "client-1,7,on")
    with pytest.raises(ConfigurationError, match="'client-1' comes and goes at second 7") as error:
        make_participation("events", {"file": file})
    assert len(error.value.errors) == 1


def test_clients_that_are_not_there_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = events(tmp_path, "client-0,0,on", "clinet-1,0,on")
    clock = by_clock("events", 0.0, file=file)
    for _ in range(2):
        clock.available(1, CLIENTS[:2])
    assert [record.getMessage() for record in caplog.records] == [
        f"participation trace '{file}' names 1 clients that are not there: clinet-1",
        f"participation trace '{file}' leaves out 1 clients, who will never take part: client-1",
    ]


def test_a_trace_says_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("client,from,to\nclient-0,2,4\nclient-1,4,\n")
    clock = by_clock("trace", 0.0, tick=10.0, file=str(file))
    assert [clock.next_change(s) for s in (0.0, 10.0, 35.0, 40.0)] == [10.0, 30.0, 40.0, math.inf]


def test_wrong_events_are_named(tmp_path: Path) -> None:
    file = events(tmp_path, "client-0,-1,on", "client-1,3,came", ",3,on")
    with pytest.raises(ConfigurationError) as error:
        make_participation("events", {"file": file})
    first, second, third = error.value.errors
    assert "line 2" in first
    assert "second = '-1'" in first
    assert "allowed: on, off" in second
    assert "client is empty" in third
    with pytest.raises(ConfigurationError, match="absolute path"):
        make_participation("events", {"file": "events.csv"})
