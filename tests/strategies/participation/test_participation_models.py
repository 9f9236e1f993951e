"""Who is there in a round: the models of participation."""

from __future__ import annotations

import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.randomness import derive_seed
from strategies.participation import Always, Markov, Participation, make_participation
from strategies.participation.base import chance
from strategies.transport.roster import Client

CLIENTS = [Client(f"client-{number:04d}", number) for number in range(12)]
MODELS: dict[str, dict[str, object]] = {
    "always": {"dropout": 0.3},
    "bernoulli": {"p": 0.3, "dropout": 0.2},
    "markov": {"p": 0.3, "stay": 4},
    "cyclic": {"p": 0.3, "period": 10},
}


def history(model: Participation, client: Client, rounds: int) -> list[bool]:
    return [client.id in model.available(k, [client]) for k in range(1, rounds + 1)]


def markov(**options: object) -> Markov:
    model = make_participation("markov", options, seed=5)
    assert isinstance(model, Markov)
    return model


def within(found: float, p: float, draws: float) -> bool:
    """Within four standard deviations of a mean of independent draws."""
    return abs(found - p) <= 4 * math.sqrt(p * (1 - p) / draws)


def test_always_is_no_scenario_unless_somebody_drops_out() -> None:
    assert Always().everybody
    assert Always().available(3, CLIENTS) == {client.id for client in CLIENTS}
    assert Always().probability(CLIENTS[0]) == 1.0
    assert not any(Always().drops_out(k, "client-0000") for k in range(1000))
    leaving = make_participation("always", {"dropout": 0.25}, seed=1)
    assert not leaving.everybody
    assert leaving.probability(CLIENTS[0]) == 0.75
    assert len(leaving.available(1, CLIENTS)) == len(CLIENTS)


def test_a_chance_is_the_derived_seed_itself() -> None:
    assert chance(3, "a", 1) == (derive_seed(3, "a", 1) >> 10) / 2**53
    draws = [chance(0, k) for k in range(4000)]
    assert 0 <= min(draws) < 0.002
    assert 0.998 < max(draws) < 1
    assert abs(sum(draws) / 4000 - 0.5) < 4 * math.sqrt(1 / 12 / 4000)


def test_bernoulli_by_hand() -> None:
    model = make_participation("bernoulli", {"p": 0.4}, seed=9)
    for server_round, client in itertools.product(range(1, 20), CLIENTS):
        there = client.id in model.available(server_round, CLIENTS)
        assert there == (chance(9, "participation", server_round, client.id) < 0.4)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_fate_depends_on_nobody_else_and_on_no_past(name: str, data: st.DataObject) -> None:
    """Any order of rounds, any company, any number of restarts: the same bits."""
    seed = data.draw(st.integers(0, 2**40))
    rounds = range(1, 40)
    one = make_participation(name, MODELS[name], seed)
    expected = {k: one.available(k, CLIENTS) for k in rounds}
    leaving = {(k, c.id): one.drops_out(k, c.id) for k in rounds for c in CLIENTS}
    other = make_participation(name, MODELS[name], seed)
    for _ in range(12):
        k = data.draw(st.sampled_from(rounds))
        some = data.draw(st.permutations(CLIENTS))[: data.draw(st.integers(1, len(CLIENTS)))]
        assert other.available(k, some) == expected[k] & {client.id for client in some}
        assert other.drops_out(k, some[0].id) == leaving[k, some[0].id]
        if data.draw(st.booleans()):
            other = make_participation(name, MODELS[name], seed)


@pytest.mark.parametrize("name", ["bernoulli", "markov", "always"])
def test_seeds_and_clients_differ(name: str) -> None:
    options = MODELS[name]
    fates = {
        tuple(
            client.id in model.available(k, [client]) and not model.drops_out(k, client.id)
            for k in range(1, 60)
        )
        for seed in (0, 1)
        for model in [make_participation(name, options, seed)]
        for client in CLIENTS
    }
    assert len(fates) == 2 * len(CLIENTS)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_bernoulli_answers_as_often_as_its_probability(p: float, dropout: float) -> None:
    model = make_participation("bernoulli", {"p": p, "dropout": dropout}, seed=2)
    answered = [
        client.id in model.available(k, [client]) and not model.drops_out(k, client.id)
        for k in range(1, 501)
        for client in CLIENTS
    ]
    known = model.probability(CLIENTS[0])
    assert known == pytest.approx(p * (1 - dropout))
    assert within(sum(answered) / len(answered), known, len(answered))


@pytest.mark.parametrize(
    ("options", "p", "leave", "join"),
    [
        ({"p": 0.2}, 0.2, 0.2, 0.05),
        ({"p": 0.5, "stay": 4}, 0.5, 0.25, 0.25),
        ({"p": 0.9, "stay": 2}, 0.9, 1 / 9, 1.0),  # nobody can come back faster than at once
        ({"p": 0.2, "join": 0.05}, 0.2, 0.2, 0.05),
        ({"p": 0.1, "join": 0.5}, 0.1, 1.0, 1 / 9),
        ({"p": 0.8, "join": 0.4}, 0.8, 0.1, 0.4),
        ({"p": 0.5, "stay": 1}, 0.5, 1.0, 1.0),
        ({"p": 1.0, "stay": 3}, 1.0, 0.0, 1.0),
    ],
)
def test_markov_rates_balance(
    options: dict[str, object], p: float, leave: float, join: float
) -> None:
    found = markov(**options).rates(p)
    assert found == pytest.approx((leave, join))
    assert found[1] / sum(found) == pytest.approx(p)


def test_markov_by_hand() -> None:
    """The look back gives what stepping forward from round 1 gives."""
    for options in ({"p": 0.3, "stay": 6}, {"p": 0.6, "stay": 1.3}, {"p": 0.5, "stay": 1}):
        model, p = markov(**options), options["p"]
        leave, join = model.rates(p)
        for client in CLIENTS:
            u = [chance(5, "participation", k, client.id) for k in range(0, 81)]
            state, states = u[1] < p, []
            for k in range(1, 81):
                if k > 1:
                    state = u[k] < (1 - leave if state else join)
                states.append(state)
            assert history(model, client, 80) == states
            for k in (80, 1, 33, 34, 12):
                assert (client.id in markov(**options).available(k, [client])) == states[k - 1]


def test_markov_is_stationary_and_stays_as_long_as_asked() -> None:
    model = markov(p=0.25, stay=5)
    crowd = [Client(f"client-{number:04d}", number) for number in range(3000)]
    for server_round in (1, 2, 40):
        share = len(model.available(server_round, crowd)) / len(crowd)
        assert within(share, 0.25, len(crowd)), server_round
    stays, away = [], []
    for client in crowd[:300]:
        runs = [(s, len(list(g))) for s, g in itertools.groupby(history(model, client, 300))]
        stays += [length for state, length in runs[1:-1] if state]
        away += [length for state, length in runs[1:-1] if not state]
    # A geometric length of mean m has standard deviation sqrt(m (m - 1)); runs cut off by the
    # end are left out, which takes a little off the longer ones.
    assert abs(sum(stays) / len(stays) - 5) < 4 * math.sqrt(20 / len(stays)) + 0.1
    assert abs(sum(away) / len(away) - 15) < 4 * math.sqrt(210 / len(away)) + 0.9
    assert model.probability(crowd[0]) == 0.25


def test_markov_looks_back_a_few_rounds_only() -> None:
    model = markov(p=0.5, stay=10)
    asked: list[int] = []
    draw = model.chance

    def counted(*purpose: str | int) -> float:
        asked.append(1)
        return draw(*purpose)

    model.chance = counted  # type: ignore[method-assign]
    for client in CLIENTS:
        model.available(1_000_000, [client])
    assert len(asked) / len(CLIENTS) < 20
    asked.clear()
    for client in CLIENTS:
        model.available(1_000_001, [client])
    assert len(asked) == len(CLIENTS)


@pytest.mark.parametrize(("p", "there"), [(0.3, 3), (0.01, 1), (0.96, 10), (1.0, 10)])
def test_cyclic_is_there_once_in_a_row_each_period(p: float, there: int) -> None:
    model = make_participation("cyclic", {"p": p, "period": 10}, seed=4)
    for client in CLIENTS:
        rounds = history(model, client, 30)
        assert [sum(rounds[k : k + 10]) for k in range(20)] == [there] * 20
        assert rounds[:10] == rounds[10:20] == rounds[20:]
        changes = sum(a != b for a, b in itertools.pairwise([*rounds[:10], rounds[0]]))
        assert changes == (0 if there == 10 else 2)
        assert model.probability(client) == there / 10


def test_cyclic_offsets() -> None:
    by_number = make_participation("cyclic", {"p": 0.25, "period": 4, "offset": "number"})
    first = [by_number.available(k, CLIENTS[:4]) for k in range(1, 6)]
    assert first == [{f"client-000{k}"} for k in (0, 3, 2, 1, 0)]
    drawn = make_participation("cyclic", {"p": 0.25, "period": 4}, seed=1)
    crowd = [Client(f"site-{letter}", 0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    assert len({tuple(history(drawn, client, 4)) for client in crowd}) == 4


@pytest.mark.parametrize("name", MODELS)
def test_options_are_json(name: str) -> None:
    model = make_participation(name, MODELS[name])
    dumped = json.loads(json.dumps(model.options.model_dump()))  # type: ignore[attr-defined]
    assert dumped["dropout"] == MODELS[name].get("dropout", 0.0)
