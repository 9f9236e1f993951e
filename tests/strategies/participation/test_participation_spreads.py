"""How availability differs from client to client."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import ConfigurationError
from models.randomness import derive_generator
from strategies.participation import make_participation
from strategies.participation.base import chance
from strategies.transport.roster import Client

LABELS = tuple("0123456789")


def clients(count: int) -> list[Client]:
    return [Client(f"client-{number:04d}", number) for number in range(count)]


def shares(crowd: list[Client], seed: int = 3, **options: object) -> list[float]:
    model = make_participation("bernoulli", options, seed, LABELS)
    found = [model.probability(client) for client in crowd]
    assert None not in found
    return [float(p) for p in found if p is not None]


def test_same() -> None:
    assert shares(clients(3), p=0.25) == [0.25] * 3
    assert shares(clients(1)) == [0.5]


def test_uniform() -> None:
    crowd = clients(2000)
    found = shares(crowd, spread="uniform", low=0.2, high=0.6)
    assert found[7] == 0.2 + (0.6 - 0.2) * chance(3, "participation", "p", "client-0007")
    assert min(found) >= 0.2
    assert max(found) <= 0.6
    assert abs(np.mean(found) - 0.4) < 4 * 0.4 / np.sqrt(12 * 2000)
    assert shares(crowd[::-1], spread="uniform", low=0.2, high=0.6) == found[::-1]
    assert shares(crowd, seed=4, spread="uniform", low=0.2, high=0.6) != found


@pytest.mark.parametrize(
    ("slow", "expected"),
    [
        ("odd", [1.0, 0.1, 1.0, 0.1, 1.0, 0.1]),
        ("even", [0.1, 1.0, 0.1, 1.0, 0.1, 1.0]),
        ("from-4", [1.0, 1.0, 1.0, 1.0, 0.1, 0.1]),
    ],
)
def test_two_groups(slow: str, expected: list[float]) -> None:
    assert shares(clients(6), spread="two-groups", slow=slow, low=0.1) == expected


def test_two_groups_without_numbers_draw() -> None:
    crowd = [Client(f"{letter}-site", 0) for letter in map(str, range(2000))]
    found = shares(crowd, spread="two-groups", slow="odd", low=0.2, high=0.8)
    assert found == shares(crowd, spread="two-groups", slow="random", low=0.2, high=0.8)
    assert set(found) == {0.2, 0.8}
    assert abs(found.count(0.2) - 1000) < 4 * np.sqrt(500)


def test_dirichlet_is_the_rule_of_fedau() -> None:
    q = derive_generator(3, "participation", "classes").dirichlet([0.1] * 10)
    counts = [{"0": 30, "4": 10}, {"9": 5}, {"2": 1, "3": 1, "5": 2}]
    crowd = [Client(f"c-{k}", 0, label_counts=found) for k, found in enumerate(counts)]
    expected = [0.75 * q[0] + 0.25 * q[4], q[9], 0.25 * q[2] + 0.25 * q[3] + 0.5 * q[5]]
    found = shares(crowd, spread="dirichlet", minimum=0.05)
    assert found == pytest.approx([max(0.05, 0.1 * 10 * float(e)) for e in expected])
    assert min(found) == 0.05
    unsaid = [Client("c-8", 0), Client("c-9", 0, label_counts={})]
    assert shares(unsaid, spread="dirichlet", mean=0.3) == [0.3, 0.3]


def test_dirichlet_has_its_mean_over_draws() -> None:
    client = Client("c-0", 0, label_counts={"0": 3, "7": 1})
    draws = [
        shares([client], seed=seed, spread="dirichlet", alpha=1.0, mean=0.05, minimum=0.0)[0]
        for seed in range(1500)
    ]
    # Var <r, q> of a flat Dirichlet over ten: (|r|^2 - 1/10) / 11.
    deviation = 0.05 * 10 * np.sqrt((0.625 - 0.1) / 11)
    assert abs(np.mean(draws) - 0.05) < 4 * deviation / np.sqrt(1500)


def test_a_dirichlet_share_is_at_most_one() -> None:
    crowd = [Client(f"c-{label}", 0, label_counts={label: 4}) for label in LABELS]
    found = shares(crowd, spread="dirichlet", mean=1.0, alpha=0.01)
    assert max(found) == 1.0
    assert min(found) == 0.02


def test_label_group_goes_from_high_to_low_by_main_label() -> None:
    counts = [{"0": 2, "9": 1}, {"9": 4}, {"3": 2, "6": 2}, {"strange": 5}, None]
    crowd = [Client(f"c-{k}", 0, label_counts=found) for k, found in enumerate(counts)]
    found = shares(crowd, spread="label-group", low=0.1, high=1.0)
    assert found == pytest.approx([1.0, 0.1, 0.7, 0.55, 0.55])


def test_group_draws_once_a_group() -> None:
    groups = [("f",), ("m",), ("f",), ("f", "m")]
    crowd = [Client(f"c-{k}", 0, groups={"sex": found}) for k, found in enumerate(groups)]
    found = shares(crowd, spread="group", column="sex", low=0.2, high=0.7)
    draw = {g: 0.2 + 0.5 * chance(3, "participation", "group", "sex", g) for g in "fm"}
    assert found == pytest.approx([draw["f"], draw["m"], draw["f"], sum(draw.values()) / 2])
    lone = shares(clients(2), spread="group", column="sex", low=0.2, high=0.7)
    assert len({*lone, *draw.values()}) == 4


def test_a_client_that_comes_back_with_other_labels_has_another_share() -> None:
    model = make_participation("bernoulli", {"spread": "label-group"}, 0, LABELS)
    first, then = (Client("c-0", 0, label_counts={label: 3}) for label in "09")
    assert [model.probability(first), model.probability(then)] == pytest.approx([1.0, 0.1])


@pytest.mark.parametrize("name", ["bernoulli", "markov", "cyclic"])
def test_spreads_serve_every_model_with_a_probability(name: str) -> None:
    model = make_participation(name, {"spread": "two-groups", "low": 0.2, "dropout": 0.5})
    found = [model.probability(client) for client in clients(4)]
    assert found == pytest.approx([0.5, 0.1, 0.5, 0.1])
    slow = clients(4)[1]
    rounds = 3000
    share = sum(slow.id in model.available(k, [slow]) for k in range(1, rounds + 1)) / rounds
    # Rounds of the slowest chain (stay 5, away 20) hang together over 1 / (a + b) = 4 of them.
    assert abs(share - 0.2) < 4 * np.sqrt(0.16 * 8 / rounds)


@pytest.mark.parametrize("spread", ["dirichlet", "label-group"])
def test_spreads_by_label_need_the_labels(spread: str) -> None:
    with pytest.raises(ConfigurationError, match="labels are not known; name them in labels"):
        make_participation("bernoulli", {"spread": spread})
