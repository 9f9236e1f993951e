"""Stale updates made fresh: what is handed on, switching back, refusals; exact numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from fedbouquet.testing import SCHEMA, round_context, update
from fedbouquet.testing.jumps import Jumps
from models.errors import BouquetError, ConfigurationError
from models.schema import NamedArrays
from strategies.asynchronous.afa import AFA
from strategies.asynchronous.fedasync import FedAsync
from strategies.asynchronous.fedbuff import FedBuff
from strategies.asynchronous.fedcompass import FedCompass
from strategies.asynchronous.gradient_inversion import GradientInversion
from strategies.base import State, Strategy
from strategies.fedavg import FedAvg
from strategies.rounds.context import Update


def arrays(value: float) -> NamedArrays:
    return NamedArrays(SCHEMA, np.full(SCHEMA.size, value, np.float32))


def stale(to: float, start: float = 0.0, staleness: int = 3, client: int = 0) -> Update:
    """A client that was sent `start` everywhere and came back with `to`."""
    item = replace(update(client), arrays=arrays(to), start=arrays(start), staleness=staleness)
    return replace(item, base_round=9 - staleness)


class Hearing(FedBuff):
    """Keeps what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.heard_of: list[Update] = []

    def delta(self, item: Update) -> np.ndarray:  # type: ignore[type-arg]
        self.heard_of.append(item)
        return super().delta(item)


def around(inner: Strategy, training: Jumps | None = None, **options: object) -> GradientInversion:
    strategy = GradientInversion(inner, **options)
    strategy.lend(training or Jumps(SCHEMA))
    strategy.initialise(arrays(1.0))
    return strategy


def close(strategy: Strategy, updates: Sequence[Update], server_round: int = 9) -> None:
    where = round_context(server_round)
    aggregation = strategy.begin(where)
    for item in updates:
        aggregation.add(item)
    strategy.conclude(aggregation, where)


def test_fresh_updates_pass_as_they_are() -> None:
    hearing = Hearing()
    strategy = around(hearing)
    fresh = [replace(update(k), start=arrays(1.0)) for k in range(3)]
    close(strategy, fresh)
    assert [id(item) for item in hearing.heard_of] == [id(item) for item in fresh]
    plain = FedBuff()
    plain.initialise(arrays(1.0))
    close(plain, fresh)
    np.testing.assert_array_equal(strategy.arrays.vector, plain.arrays.vector)
    assert strategy.figures() == {"converted": 0, "left_stale": 0, "switched_back": 0}


def test_a_stale_update_goes_in_as_the_data_give_it_now() -> None:
    """From 0 half of the way to 8 is 4; from 1, where the model is now, 4.5."""
    hearing = Hearing()
    strategy = around(hearing, Jumps(SCHEMA, rate=0.5))
    close(strategy, [stale(4.0)])
    (seen,) = hearing.heard_of
    np.testing.assert_array_equal(seen.arrays.vector, arrays(4.5).vector)
    assert seen.start is not None
    np.testing.assert_array_equal(seen.start.vector, arrays(1.0).vector)
    assert (seen.staleness, seen.base_round) == (0, 9)
    np.testing.assert_array_equal(strategy.arrays.vector, arrays(4.5).vector)
    figures = {"converted": 1, "left_stale": 0, "switched_back": 0, "inversion_fit": 0}
    assert strategy.figures() == figures


@pytest.mark.parametrize("inner", [FedAvg, FedAsync])
def test_what_is_left_stale_is_as_without_it(inner: type[Strategy]) -> None:
    """Data as far off as none are not used; a mean gets the update rebased, others with its age."""
    strategy = around(inner(), Jumps(SCHEMA, off=4.0))
    close(strategy, [stale(4.0)])
    assert strategy.figures() == {"converted": 0, "left_stale": 1, "switched_back": 0}
    if inner is FedAvg:
        np.testing.assert_array_equal(strategy.arrays.vector, arrays(5.0).vector)
        return
    plain = inner()
    plain.initialise(arrays(1.0))
    close(plain, [stale(4.0)])
    np.testing.assert_array_equal(strategy.arrays.vector, plain.arrays.vector)


@pytest.mark.parametrize(
    ("to", "start", "back"),
    [
        (5.0, 1.0, False),  # the data, 5 for 4, say 4 now, and so did the raw update: true
        (5.0, 2.0, False),  # the data say 3, which is true; the raw update said 4
        (6.0, 2.0, True),  # the data say 3; the raw update said 4, which is true
    ],
)
def test_a_client_is_switched_back_once_its_data_say_less_than_its_last_update(
    to: float, start: float, back: bool
) -> None:
    strategy = around(FedBuff(), Jumps(SCHEMA, off=1.0))
    close(strategy, [stale(4.0)])  # raw 4, data 5
    close(strategy, [stale(to, start, staleness=0)])
    assert strategy.figures()["switched_back"] == back
    close(strategy, [stale(5.0), stale(4.0, client=1)])
    assert strategy.figures()["converted"] == 2 - back
    names = strategy.state().values["clients"]
    assert names == ('["c-1"]' if back else '["c-0", "c-1"]')


def test_what_is_hardly_stale_may_stay_as_it_is() -> None:
    hearing = Hearing()
    strategy = around(hearing, **{"least-staleness": 3})
    young, old = stale(4.0, staleness=2), stale(4.0, client=1)
    close(strategy, [young, old])
    assert hearing.heard_of[0] is young
    assert hearing.heard_of[1].staleness == 0
    assert strategy.figures()["left_stale"] == strategy.figures()["converted"] == 1


def test_searches_begin_where_the_last_ended() -> None:
    training = Jumps(SCHEMA)
    strategy = around(FedBuff(), training, iterations=7, **{"warm-iterations": 2})
    close(strategy, [stale(4.0), stale(4.0, client=1)])
    close(strategy, [stale(4.0)])
    strategy.forget("c-0", 10)
    close(strategy, [stale(4.0), stale(4.0, client=1)])
    assert [one.iterations for one in training.searches] == [7, 7, 2, 7, 2]


def test_all_that_is_remembered_is_in_the_state_and_nowhere_to_be_seen() -> None:
    strategy = around(FedBuff(), Jumps(SCHEMA, off=1.0))
    close(strategy, [stale(4.0), stale(4.0, client=1)])
    close(strategy, [stale(6.0, 2.0, staleness=0)])
    copy = around(FedBuff(), Jumps(SCHEMA, off=1.0))
    saved = strategy.state()
    copy.restore(State(dict(saved.arrays), dict(saved.values)))
    for one in (strategy, copy):
        close(one, [stale(4.0), stale(5.0, client=1)])
    np.testing.assert_array_equal(strategy.arrays.vector, copy.arrays.vector)
    assert strategy.figures() == copy.figures()
    assert strategy.figures()["switched_back"] == 1
    assert strategy.artifacts() == {}


def test_updates_from_nothing_are_handed_on() -> None:
    strategy = around(FedBuff())
    close(strategy, [replace(stale(4.0), num_examples=0), stale(0.0, client=1)])
    np.testing.assert_array_equal(strategy.arrays.vector, arrays(1.0).vector)
    assert strategy.figures()["converted"] == 0


def test_large_models_are_refused() -> None:
    strategy = GradientInversion(**{"max-numbers": SCHEMA.size - 1, "max-input": 1})
    with pytest.raises(ConfigurationError, match=f"{SCHEMA.size} trainable numbers are more than"):
        strategy.lend(Jumps(SCHEMA))
    GradientInversion(**{"max-numbers": SCHEMA.size}).lend(Jumps(SCHEMA))
    wide = Jumps(SCHEMA)
    wide.input_size = 12_289
    with pytest.raises(ConfigurationError, match="12289 numbers of one are more than max-input"):
        GradientInversion().lend(wide)


@pytest.mark.parametrize("inner", [AFA(**{"max-steps": 3}), FedCompass()])
def test_clients_that_the_server_cannot_follow_are_refused(inner: Strategy) -> None:
    strategy = around(inner)
    with pytest.raises(ConfigurationError, match="whose clients train in their own way"):
        strategy.instruct("c-0", round_context())


def test_it_has_to_see_ages_and_whole_adapters() -> None:
    with pytest.raises(ConfigurationError, match="does not give a single update back"):
        FedBuff(GradientInversion())
    strategy = GradientInversion()
    strategy.lend(Jumps(SCHEMA))
    part = NamedArrays.of({"classifier.weight": np.zeros((3, 3), np.float32)})
    with pytest.raises(ConfigurationError, match=r"of which .* averages a part"):
        strategy.initialise(part)


def test_without_the_clients_training_a_stale_update_is_an_error() -> None:
    strategy = GradientInversion()
    strategy.initialise(arrays(1.0))
    close(strategy, [replace(update(0), start=arrays(1.0))])
    with pytest.raises(BouquetError, match="needs the clients' training on the server"):
        close(strategy, [stale(4.0)])
