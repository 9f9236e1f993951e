"""Devices of clients: how slowness is spread, what a training takes, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ConfigurationError
from strategies.clock.population import Device, make_population, population_option_errors
from strategies.clock.slowness import SPREADS
from strategies.clock.work import LocalWork
from strategies.participation.base import chance
from strategies.transport.roster import Client, Node, Roster

LABELS = ("a", "b", "c", "d")


def crowd(count: int) -> list[Client]:
    return [Client(f"client-{number:04d}", 1) for number in range(count)]


def speeds(name: str, count: int = 2000, **options: object) -> np.ndarray:
    population = make_population(name, options, seed=3)
    return np.array([population.device(client).speed for client in crowd(count)])


def test_a_training_takes_download_work_and_upload() -> None:
    device = Device(speed=50.0, downlink=1000.0, uplink=500.0)
    assert device.seconds(200, 4000, 4000) == 4.0 + 4.0 + 8.0
    assert Device(50.0).seconds(200, 10**12, 10**12) == 4.0


def test_all_alike() -> None:
    assert set(speeds("same", speed=7.0)) == {7.0}


def test_uniform_times() -> None:
    slowness = 100 / speeds("uniform", low=2.0, high=6.0)
    assert slowness[5] == pytest.approx(2 + 4 * chance(3, "population", "speed", "client-0005"))
    assert 2 <= slowness.min() < 2.05
    assert 5.95 < slowness.max() <= 6


def test_log_normal_has_the_speed_in_the_middle() -> None:
    slowness = np.log(100 / speeds("log-normal", sigma=0.5))
    assert abs(np.median(slowness)) < 0.05
    assert abs(slowness.std() - 0.5) < 0.03


def test_pareto_has_its_tail() -> None:
    slowness = 100 / speeds("pareto", shape=2.0)
    assert slowness.min() >= 1
    # P(s > x) = x^-shape
    assert abs((slowness > 3).mean() - 1 / 9) < 0.02
    assert SPREADS["pareto"](shape=2.0).at(0.75) == 2.0  # type: ignore[call-arg]


def test_two_tiers() -> None:
    found = speeds("two-tier", slow=10.0, share=0.25)
    assert set(found) == {100.0, 10.0}
    assert abs((found == 10.0).mean() - 0.25) < 0.03


@pytest.mark.parametrize("name", sorted(SPREADS))
@settings(deadline=None)
@given(a=st.floats(0, 1, exclude_max=True), b=st.floats(0, 1, exclude_max=True))
def test_slowness_is_finite_and_grows_with_the_place(name: str, a: float, b: float) -> None:
    spread = SPREADS[name]()
    low, high = spread.at(min(a, b)), spread.at(max(a, b))
    assert 0 < low <= high < math.inf


def test_who_else_there_is_does_not_matter() -> None:
    population = make_population("pareto", {"link-sigma": 0.5, "uplink": 1e6}, seed=9)
    again = make_population("pareto", {"link-sigma": 0.5, "uplink": 1e6}, seed=9)
    there = [population.device(client) for client in crowd(5)]
    assert [again.device(client) for client in crowd(5)[::-1]] == there[::-1]
    assert there[0].downlink == math.inf
    assert len({device.uplink for device in there}) == 5
    other = make_population("pareto", {"link-sigma": 0.5, "uplink": 1e6}, seed=10)
    assert other.device(crowd(1)[0]) != there[0]


def test_links_are_log_normal_around_their_rate() -> None:
    population = make_population("same", {"uplink": 1e6, "link-sigma": 0.8}, seed=1)
    logs = np.log([population.device(client).uplink / 1e6 for client in crowd(2000)])
    assert abs(np.median(logs)) < 0.08
    assert abs(logs.std() - 0.8) < 0.05


def test_speed_tied_to_labels() -> None:
    population = make_population("pareto", {"tied": "labels"}, seed=3, labels=LABELS)
    clients = [
        Client(f"client-{i:04d}", 1, label_counts={LABELS[i % 4]: 9, "a": 1}) for i in range(200)
    ]
    found = np.array([population.device(client).speed for client in clients])
    slowest = [found[k::4].min() for k in range(4)]
    fastest = [found[k::4].max() for k in range(4)]
    assert all(slowest[k] >= fastest[k + 1] for k in range(3))
    nobody = Client("client-0000", 1)  # says nothing of its labels: as if it were not tied
    free = make_population("pareto", {}, seed=3).device(nobody)
    assert population.device(nobody) == free


def test_jitter_is_a_function_of_the_second() -> None:
    population = make_population("same", {"jitter": 0.3}, seed=3)
    assert make_population("same", {}, seed=3).jitter("c", 1.5) == 1.0
    draws = [math.log(population.jitter("client-0001", 0.1 * k)) for k in range(1000)]
    assert draws[7] == math.log(population.jitter("client-0001", 0.1 * 7))
    assert abs(np.std(draws) - 0.3) < 0.02


def test_work_follows_the_request() -> None:
    roster = Roster()
    roster.join(Node(1, "n"), [Client("a", 1, examples=100), Client("b", 1, examples=50)])
    roster.join(Node(2, "m"), [Client("quiet", 2)])
    work = LocalWork(local_epochs=2, batch_size=32)
    assert work.examples(roster["a"], {}, roster) == 200
    assert work.examples(roster["a"], {"local-epochs": 5}, roster) == 500
    # 100 examples are steps of 32, 32, 32 and 4.
    assert work.examples(roster["a"], {"local-steps": 2}, roster) == 64
    assert work.examples(roster["a"], {"local-steps": 4}, roster) == 100
    assert work.examples(roster["a"], {"local-steps": 9}, roster) == 200 + 32
    assert work.examples(roster["a"], {"local-steps": 3, "batch-size": 200}, roster) == 300
    assert work.examples(roster["quiet"], {}, roster) == 150
    assert LocalWork(batch_size=8).examples(Client("x", 1), {}, Roster()) == 8


def test_errors_name_the_option() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'pareto'"):
        make_population("parto")
    assert population_option_errors("same", {}) == []
    (line,) = population_option_errors("same", {"speed": 0.0})
    assert "speed" in line
    (line,) = population_option_errors("same", {"shape": 2.0})
    assert "shape" in line
    (line,) = population_option_errors("uniform", {"low": 3.0, "high": 1.0})
    assert "at least low = 3" in line
    (line,) = population_option_errors("two-tier", {"tied": "label"})
    assert "tied" in line


def test_known_options_are_told_as_they_are_written() -> None:
    (line,) = population_option_errors("same", {"link-sgima": 1})
    assert "did you mean 'link-sigma'" in line
    assert "_" not in line
