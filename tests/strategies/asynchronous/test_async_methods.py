"""FedAsync, FedBuff, FedFix, FedCompass, AFA, async-fedstale: exact steps, state, refusals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from app.registry import registry
from models.errors import ConfigurationError
from models.schema import NamedArrays
from strategies.asynchronous.afa import AFA, AFACS
from strategies.asynchronous.async_fedstale import AsyncFedStale
from strategies.asynchronous.durations import Durations
from strategies.asynchronous.fedasync import FedAsync
from strategies.asynchronous.fedbuff import FedBuff
from strategies.asynchronous.fedcompass import FedCompass
from strategies.asynchronous.fedfix import FedFix
from strategies.base import Strategy
from strategies.fedavg import FedAvg
from strategies.fedopt import FedOpt
from strategies.rounds.context import RoundContext, Update
from strategies.transport.roster import Client, Node, Roster

EXAMPLES = (50, 30, 20)


def context(server_round: int = 1, now: float = 0.0, busy: Sequence[str] = ()) -> RoundContext:
    roster = Roster()
    roster.join(Node(0, "c-0"), [Client(f"c-{i}", 0, n) for i, n in enumerate(EXAMPLES)])
    return RoundContext(server_round, 99, roster, now=now, busy=frozenset(busy))


def vector(*numbers: float) -> NamedArrays:
    return NamedArrays.of({"w": np.array(numbers, np.float32)})


def started(strategy: Strategy, *numbers: float) -> Strategy:
    strategy.initialise(vector(*(numbers or (0.0, 0.0))))
    return strategy


def answer(
    client: int,
    delta: Sequence[float],
    *,
    start: Sequence[float] = (0.0, 0.0),
    staleness: int = 0,
    **more: object,
) -> Update:
    """Client i was sent `start` and answers start - delta."""
    came = vector(*(np.float32(start) - np.float32(delta)))
    sent = vector(*start)
    made = Update(f"c-{client}", came, EXAMPLES[client], start=sent, staleness=staleness)
    return replace(made, **more)  # type: ignore[arg-type]


def step(strategy: Strategy, where: RoundContext, *updates: Update) -> list[float]:
    before = strategy.arrays.vector.astype(np.float64)
    aggregation = strategy.begin(where)
    for update in updates:
        aggregation.add(update)
    strategy.conclude(aggregation, where)
    return (before - strategy.arrays.vector).tolist()


def close(found: Sequence[float], expected: Sequence[float]) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-6)


# ---- FedAsync ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "staleness", "alpha"),
    [
        ({"alpha": 0.9}, 0, 0.9),
        ({"alpha": 0.9}, 3, 0.45),
        ({"alpha": 0.9, "staleness": "hinge"}, 6, 0.9 / 21),
        ({"alpha": 0.9, "staleness": "constant"}, 6, 0.9),
    ],
)
def test_fedasync_mixes_models(options: Mapping[str, object], staleness: int, alpha: float) -> None:
    strategy = started(FedAsync(**options), 1, 2)
    late = answer(0, (1, -1), start=(5, 5), staleness=staleness)  # w_i = (4, 6)
    step(strategy, context(), late)
    close(strategy.arrays.vector, [(1 - alpha) * 1 + alpha * 4, (1 - alpha) * 2 + alpha * 6])


def test_fedasync_takes_the_mean_of_what_comes_at_one_moment() -> None:
    strategy = started(FedAsync(alpha=0.5, staleness="constant"))
    close(step(strategy, context(), answer(0, (1, 0)), answer(1, (0, 2))), (0.25, 0.5))


def test_fedasync_pulls_clients_towards_what_they_were_sent() -> None:
    plain, pulled = started(FedAsync()), started(FedAsync(rho=0.1))
    assert plain.instruct("c-0", context()).config == {}
    assert pulled.instruct("c-0", context()).config == {
        "objective": "fedprox",
        "objective.mu": 0.1,
    }


# ---- FedBuff -----------------------------------------------------------------------------

FRESH, OLD = answer(0, (1, 0)), answer(1, (0, 2), start=(9, 9), staleness=3)  # s = 1, 1/2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (2 / 3, 2 / 3)),
        ({"mean": "buffer"}, (1 / 2, 1 / 2)),
        ({"mean": "sum"}, (2**0.5, 2**0.5)),  # a fresh update has weight sqrt 2
        ({"mean": "sum", "usual_staleness": 3}, (2, 2)),
        ({"staleness": "constant"}, (0.5, 1)),
        ({"learning_rate": 0.5}, (1 / 3, 1 / 3)),
        ({"weighting": "examples"}, (50 / 65, 30 / 65)),
        ({"weighting": "examples", "mean": "buffer"}, (50 / 80, 30 / 80)),
        ({"weighting": "examples", "mean": "sum"}, (2**0.5 * 50 / 40, 2**0.5 * 30 / 40)),
    ],
)
def test_fedbuff(options: Mapping[str, object], expected: Sequence[float]) -> None:
    close(step(started(FedBuff(**options)), context(), FRESH, OLD), expected)


def test_a_change_counts_from_what_the_client_was_sent() -> None:
    strategy = started(FedBuff(), 3, 3)
    close(step(strategy, context(), answer(0, (1, 0), start=(-7, 40), staleness=10)), (1, 0))
    close(step(strategy, context(), replace(answer(0, (1, 0)), start=None)), (3, 3))


# ---- FedFix ------------------------------------------------------------------------------


def test_fedfix_weighs_by_the_intervals_that_an_update_took() -> None:
    # tau = 0.4 and 1.2 with Delta_t = 0.5: 1 and 3 intervals.
    fresh, old = answer(0, (1, 0)), answer(1, (0, 1), staleness=2)
    close(step(started(FedFix()), context(3), fresh, old), (0.5, 0.9))
    close(step(started(FedFix(weighting="uniform")), context(3), fresh, old), (1 / 3, 1))


def test_fedfix_with_the_weights_of_the_general_theory() -> None:
    strategy = started(FedFix(weights="asynchronous"))
    taus = {0: 1.0, 1: 2.0, 2: 4.0}
    every = [answer(i, (0, 0), seconds=tau) for i, tau in taus.items()]
    step(strategy, context(1), *every)
    rate = 1.75
    for client, tau in taus.items():
        d = rate * tau * EXAMPLES[client] / 100
        came = answer(client, (1, 0), seconds=tau)
        close(step(strategy, context(2), came), (d, 0))
    pair = step(strategy, context(3), *(answer(i, (1, 0), seconds=taus[i]) for i in (0, 2)))
    close(pair, ((rate * 1 * 0.5 + rate * 4 * 0.2) / 2, 0))
    copy = started(FedFix(weights="asynchronous"))
    copy.restore(strategy.state())
    close(step(copy, context(4), every[2]), step(strategy, context(4), every[2]))
    assert copy.durations.of("c-2") == strategy.durations.of("c-2") == 4
    copy.forget("c-2", 5)
    assert copy.durations.of("c-2") is None


def test_who_was_not_heard_is_as_fast_as_the_others() -> None:
    durations = Durations()
    assert durations.rate(4) == 0
    durations.took({"a": 1.0, "b": 4.0, "c": 0.0})
    assert durations.rate(4) == 4 * (1 + 0.25) / 2


# ---- FedCompass --------------------------------------------------------------------------


def test_fedcompass_tells_steps_and_closes_groups() -> None:
    strategy = FedCompass(q_min=2, q_max=10, alpha=0.9)
    started(strategy)
    assert list(strategy.sample(context())) == ["c-0", "c-1", "c-2"]
    assert strategy.instruct("c-0", context()).config == {"local-steps": 10}
    came = [answer(0, (1, 0), seconds=10.0), answer(1, (0, 1), seconds=20.0)]
    for update in came:  # each by itself, with 1/N
        assert strategy.plan.due([update.client], 10.0) == [update.client]
        step(strategy, context(), update)
    close(strategy.arrays.vector, (-0.3, -0.3))
    assert strategy.plan.speeds == {"c-0": 1.0, "c-1": 2.0}
    later = context(3, now=20.0, busy=("c-2",))
    assert list(strategy.sample(later)) == ["c-0", "c-1"]
    assert strategy.instruct("c-0", later).config == {"local-steps": 10}
    assert strategy.instruct("c-1", later).config == {"local-steps": 5}
    assert strategy.plan.due(["c-1"], 29.0) == []
    assert strategy.plan.latest(["c-1"]) == 35.0
    old = answer(1, (0, 1), staleness=3, seconds=10.0)
    pair = step(strategy, context(4), answer(0, (1, 0), seconds=10.0), old)
    close(pair, (0.3, 0.15))  # staleness makes less of an update, not more
    assert strategy.plan.groups == {}


def test_fedcompass_takes_its_plan_back() -> None:
    strategy = FedCompass()
    started(strategy)
    strategy.sample(context())
    step(strategy, context(), answer(0, (1, 0), seconds=3.0))
    strategy.sample(context(2, now=3.0, busy=("c-1", "c-2")))
    copy = FedCompass()
    started(copy)
    copy.restore(strategy.state())
    assert copy.plan.to_json() == strategy.plan.to_json()
    assert copy.instruct("c-0", context(2)).config == strategy.instruct("c-0", context(2)).config


def test_fedcompass_wants_bounds_in_order() -> None:
    errors = registry().option_errors("fedcompass", {"q-min": 5, "q-max": 4})
    assert any("q-min = 5 is above q-max = 4" in error for error in errors)


# ---- AFA ---------------------------------------------------------------------------------


def worked(client: int, delta: Sequence[float], steps: float) -> Update:
    return answer(client, delta, metrics={"local_steps": steps})


def test_afa_averages_mean_steps() -> None:
    pair = (worked(0, (8, 0), 8), worked(1, (0, 2), 2))  # G = (1, 0), (0, 1)
    close(step(started(AFA(learning_rate=3)), context(), *pair), (1.5, 1.5))
    eta = 2 / (1 / 8 + 1 / 2)
    close(step(started(AFA()), context(), *pair), (eta / 2, eta / 2))
    alike = (worked(0, (8, 0), 4), worked(1, (0, 2), 4))
    close(step(started(AFA()), context(), *alike), (4, 1))


def test_afa_cs_steps_along_everybodys_last_mean_step() -> None:
    strategy = started(AFACS(learning_rate=3))
    close(step(strategy, context(1), worked(0, (8, 0), 8)), (1, 0))
    close(step(strategy, context(2), worked(1, (0, 2), 2)), (1, 1))
    copy = started(AFACS(learning_rate=3))
    close(step(strategy, context(3), worked(0, (0, 4), 2)), (0, 3))
    assert copy.own_closing == "buffer"


def test_a_client_that_does_not_count_its_steps_took_one() -> None:
    close(step(started(AFA(learning_rate=1)), context(), answer(0, (2, 4))), (2, 4))
    close(step(started(AFA(learning_rate=1)), context(), worked(0, (2, 4), -3)), (2, 4))


def test_afa_leaves_the_steps_to_the_client() -> None:
    for kind in (AFA, AFACS):
        assert started(kind()).instruct("c-0", context()).config == {"around": "free-steps"}
        strategy = started(kind(min_steps=2, max_steps=4))
        told = [strategy.instruct("c-0", context(r)).config for r in range(1, 30)]
        assert {config["local-steps"] for config in told} == {2, 3, 4}
        assert told == [strategy.instruct("c-0", context(r)).config for r in range(1, 30)]
    errors = registry().option_errors("afa", {"min-steps": 5, "max-steps": 4})
    assert any("min-steps = 5 is above max-steps = 4" in error for error in errors)


# ---- async-fedstale ----------------------------------------------------------------------


def test_async_fedstale_by_hand() -> None:
    strategy = started(AsyncFedStale(beta=0.5, kappa=0.5))
    # alpha/p = .5 * 1, nothing is remembered
    close(step(strategy, context(1), answer(0, (2, 0))), (1, 0))
    # .3 * 2 rounds; h_0 = .5 (2, 0) stands in: .5 * .5 * (1, 0)
    close(step(strategy, context(2), answer(1, (0, 1))), (0.25, 0.6))
    # .5 * 2 rounds; h_0 = .25 (2, 0), h_1 = .5 (0, 1)
    # beta [.5 h_0 + .3 h_1 - .5 * 2 h_0] = .5 [(-.25, 0) + (0, .15)]
    close(step(strategy, context(3), answer(0, (0, 4))), (-0.125, 4 + 0.075))


def test_remembered_updates_cancel_from_one_update_to_the_next() -> None:
    def total(beta: float, kappa: float) -> np.ndarray:
        strategy = started(AsyncFedStale(beta=beta, kappa=kappa))
        for server_round, client in enumerate((0, 1, 0, 2, 0, 1), start=1):
            delta = {0: (1, 0), 1: (0, 1), 2: (3, 3)}[client]
            step(strategy, context(server_round), answer(client, delta))
        return strategy.arrays.vector

    # Who comes in round 6 has had its cycle; of the others h stands in for what is to come.
    plain, blended = total(0.0, 1.0), total(1.0, 1.0)
    close(plain - blended, 0.5 * 1 * np.array((1, 0)) + 0.2 * 2 * np.array((3, 3)))
    assert not np.allclose(total(1.0, 0.9), blended)


def test_async_fedstale_goes_on_and_forgets_as_faded() -> None:
    def run(forgets: bool) -> Strategy:
        strategy = started(AsyncFedStale(beta=1.0, kappa=0.5))
        step(strategy, context(1), answer(0, (2, 0)), answer(1, (0, 2)))
        step(strategy, context(2), answer(2, (1, 1)))
        if forgets:
            strategy.forget("c-0", 3)
        return strategy

    strategy = run(forgets=True)
    # left: h_1 = .25 (0, 2), h_2 = .5 (1, 1)
    expected = 30 * np.array((0, 0.5)) + 20 * np.array((0.5, 0.5))
    close(strategy.total.vector, expected)
    close(step(strategy, context(3)), (0, 0))
    strategy = run(forgets=False)
    copy = started(AsyncFedStale(beta=1.0, kappa=0.5))
    copy.memory = strategy.memory
    copy.restore(strategy.state())
    close(step(copy, context(5), answer(0, (1, 0))), step(strategy, context(5), answer(0, (1, 0))))


# ---- what all have in common -------------------------------------------------------------

NAMES = ("fedasync", "fedbuff", "fedfix", "fedcompass", "afa", "afa-cs", "async-fedstale")


@pytest.mark.parametrize("name", NAMES)
def test_each_reads_starts_and_has_a_closing_rule(name: str) -> None:
    strategy = registry().compose(("fedopt", name, "fedit"), {})
    assert strategy.wants_start
    assert strategy.own_closing != "all"


@pytest.mark.parametrize("name", NAMES)
def test_each_is_around_means_only(name: str) -> None:
    with pytest.raises(ConfigurationError, match="does not give a single update back"):
        registry().compose((name, "fedbuff", "fedavg"), {})


@pytest.mark.parametrize("inside", ["fedstale", "fedvarp", "fedau", "mifa"])
@pytest.mark.parametrize("name", ["fedbuff", "fedstale"])
def test_what_remembers_clients_is_not_handed_a_blend(name: str, inside: str) -> None:
    with pytest.raises(ConfigurationError, match="both blend updates"):
        registry().compose((name, "fedopt", inside), {})


@pytest.mark.parametrize("name", ["ccvr", "ggeur"])
def test_what_reads_statistics_is_not_handed_a_blend(name: str) -> None:
    with pytest.raises(ConfigurationError, match="does not give a single update back"):
        registry().compose(("fedbuff", name), {})


def test_what_keeps_staleness_out_is_told_with_advice_that_helps() -> None:
    (clusters,) = registry().closing_errors("buffer", ("ifca", "fedbuff"), {})
    assert clusters.endswith("take closing = 'all' or 'first'")
    (table,) = registry().closing_errors("buffer", ("fedproto", "fedbuff"), {})
    assert "put a rule that does not inside FedProto" in table
    assert registry().closing_errors("buffer", ("fedproto", "fedavg"), {}) == []
    assert registry().closing_errors("first", ("fedproto", "fedbuff"), {}) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_server_optimiser_goes_around_or_inside(name: str) -> None:
    for order in (("fedopt", name), (name, "fedopt")):
        strategy = registry().compose(order, {"fedopt": {"optimizer": "sgd", "beta-1": 0.0}})
        plain = registry().compose((name,), {})
        for one in (strategy, plain):
            started(one)
        updates = (answer(0, (1, 0), staleness=1), answer(1, (2, 2)))
        close(step(strategy, context(2), *updates), step(plain, context(2), *updates))


def test_the_inner_rule_may_be_any_mean() -> None:
    assert isinstance(FedBuff().inner, FedAvg)
    assert isinstance(FedBuff(FedOpt()).inner, FedOpt)
