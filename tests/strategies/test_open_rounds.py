"""Rounds that close before everybody has answered: rules, staleness, losses, going on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pytest
from flwr.clientapp import ClientApp
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbouquet.testing import ClockedExchange, LocalGrid, update
from models.errors import BouquetError, ConfigurationError, ParticipationError
from models.schema import NamedArrays
from strategies.fedavg import FedAvg
from strategies.rounds.closing import Standing, closing_option_errors, make_closing
from strategies.rounds.context import RoundContext, Update
from strategies.rounds.late.rebasing import rebased
from strategies.rounds.loop import RoundLoop
from strategies.rounds.options import LoopOptions
from strategies.rounds.record import RoundRecord
from strategies.state import State
from strategies.transport.stock import StockExchange

FAST = {f"c-{k}": 1.0 for k in range(5)}


def opened(
    exchange: ClockedExchange,
    name: str,
    args: Mapping[str, object] | None = None,
    strategy: FedAvg | None = None,
    **options: int | float,
) -> tuple[RoundLoop, FedAvg]:
    strategy = strategy or FedAvg()
    rule = make_closing(name, strategy, args or {})
    plan = LoopOptions(**{"num_rounds": 4, "evaluate_every": 0, **options})  # type: ignore[arg-type]
    loop = RoundLoop(strategy, exchange, plan, closing=rule)
    loop.start(update(99).arrays)
    return loop, strategy


def played(
    exchange: ClockedExchange,
    name: str,
    args: Mapping[str, object] | None = None,
    **options: int | float,
) -> list[RoundRecord]:
    return list(opened(exchange, name, args, **options)[0].rounds())[1:]


def test_each_update_is_a_round_and_staleness_counts_from_the_download() -> None:
    exchange = ClockedExchange()
    records = played(exchange, "each", num_rounds=6)
    # Seconds 1, 2 (c-0 again and c-1), 3 (c-0 and c-2): who came first, then in roster order.
    assert [record.answered for record in records] == [
        *[("c-0",), ("c-0",), ("c-1",), ("c-0",), ("c-2",), ("c-0",)]
    ]
    # c-1 was sent its start in round 1 and came into round 3; c-2 into round 5.
    assert [dict(record.staleness) for record in records] == [
        *[{0: 1}, {0: 1}, {2: 1}, {0: 1}, {4: 1}, {0: 1}]
    ]


def test_a_buffer_closes_with_the_first_k_and_the_rest_waits() -> None:
    exchange = ClockedExchange(FAST)
    records = played(exchange, "buffer", {"size": 3}, num_rounds=3)
    assert [record.answered for record in records] == [
        ("c-0", "c-1", "c-2"),
        ("c-0", "c-3", "c-4"),
        ("c-0", "c-1", "c-2"),
    ]
    # c-3 and c-4 waited for round 2; nobody is asked again while its update waits.
    assert [dict(record.staleness) for record in records] == [{0: 3}, {0: 1, 1: 2}, {0: 1, 1: 2}]
    assert exchange.asked[5:8] == [("c-0", 2, 1.0), ("c-1", 2, 1.0), ("c-2", 2, 1.0)]


def test_an_interval_closes_on_the_second_with_what_came() -> None:
    exchange = ClockedExchange({f"c-{k}": 10.0 * (k + 1) for k in range(5)})
    loop, _ = opened(exchange, "interval", {"seconds": 15.0})
    seconds = [(exchange.now(), record.answered) for record in loop.rounds() if record.round]
    # c-0 is asked at 0, 15, 30, 45; c-1 at 0 and 30; the others take 30, 40 and 50 seconds.
    assert seconds == [
        (15.0, ("c-0",)),
        (30.0, ("c-0", "c-1", "c-2")),
        (45.0, ("c-0", "c-3")),
        (60.0, ("c-0", "c-1", "c-2", "c-4")),
    ]


def test_an_interval_in_which_nobody_came_is_a_round_with_nothing() -> None:
    loop, strategy = opened(ClockedExchange(), "interval", {"seconds": 0.5}, num_rounds=1)
    records = list(loop.rounds())
    assert (records[1].clients_answered, records[1].clients_asked) == (0, 0)
    np.testing.assert_array_equal(strategy.arrays.vector, update(99).arrays.vector)


def test_over_selection_asks_more_and_drops_the_slow() -> None:
    exchange = ClockedExchange()
    records = played(exchange, "first", {"size": 3, "share": 0.3}, num_rounds=2, seed=1)
    for record in records:
        assert record.clients_asked == 4  # ceil(3 * 1.3)
        assert record.clients_answered == 3
        late = [rejection for rejection in record.rejected if rejection.code == "late"]
        assert len(late) == 1
        assert int(late[0].client[2:]) > max(int(client[2:]) for client in record.answered)
        assert dict(record.staleness) == {0: 3}
    assert not exchange.under_way


def test_first_with_nobody_over_is_the_synchronous_round() -> None:
    loop, all_rounds = opened(ClockedExchange(), "all", num_rounds=3)
    list(loop.rounds())
    loop, first = opened(ClockedExchange(), "first", {"size": 5, "share": 0.0}, num_rounds=3)
    list(loop.rounds())
    np.testing.assert_array_equal(first.arrays.vector, all_rounds.arrays.vector)
    assert not np.array_equal(first.arrays.vector, update(99).arrays.vector)


def test_concurrency_bounds_who_trains_at_once() -> None:
    exchange = ClockedExchange()
    loop, _ = opened(exchange, "each", {"concurrency": 2}, num_rounds=20)
    for _ in loop.rounds():
        assert len(exchange.under_way) <= 2
    assert len({client for client, _, _ in exchange.asked}) == 5


class Seen(FedAvg):
    """Remembers the updates that it got."""

    def initialise(self, arrays: NamedArrays) -> None:
        super().initialise(arrays)
        self.updates: list[Update] = []
        self.at: list[np.ndarray] = []

    def begin(self, context: RoundContext):  # type: ignore[no-untyped-def]
        inner = super().begin(context)
        add = inner.add

        def seen(item: Update) -> None:
            self.updates.append(item)
            self.at.append(self.arrays.vector.copy())
            add(item)

        inner.add = seen  # type: ignore[method-assign]
        return inner


class Raw(Seen):
    reads_start = True


@pytest.mark.parametrize("kind", [Seen, Raw])
def test_an_update_that_arrives_after_ten_aggregations(kind: type[Seen]) -> None:
    """It is the model of now plus what the client changed; or raw, where a method wants that."""
    exchange = ClockedExchange({**FAST, "c-4": 10.5})
    strategy = kind()
    loop, _ = opened(exchange, "buffer", {"size": 4}, strategy, num_rounds=12)
    records = list(loop.rounds())[1:]
    assert [record.clients_answered for record in records] == [4] * 12
    late = next(i for i, item in enumerate(strategy.updates) if item.client == "c-4")
    item, now = strategy.updates[late], strategy.at[late]
    assert (item.base_round, item.staleness, item.seconds) == (1, 10, 10.5)
    assert dict(records[10].staleness) == {0: 3, 10: 1}
    start = update(99).arrays.vector
    assert item.start is not None
    np.testing.assert_array_equal(item.start.vector, start)
    trained = update(4, seed=1).arrays.vector
    if kind is Raw:
        np.testing.assert_array_equal(item.arrays.vector, trained)
    else:
        moved = now.astype(np.float64) + (trained.astype(np.float64) - start)
        np.testing.assert_array_equal(item.arrays.vector, moved.astype(np.float32))


def test_fresh_updates_come_bit_for_bit() -> None:
    strategy = Seen()
    loop, _ = opened(ClockedExchange(FAST), "buffer", {"size": 5}, strategy)
    list(loop.rounds())
    for item in strategy.updates:
        expected = update(int(item.client[2:]), seed=item.base_round)
        np.testing.assert_array_equal(item.arrays.vector, expected.arrays.vector)
        assert item.staleness == 0


def test_who_never_answers_is_released_and_asked_again() -> None:
    exchange = ClockedExchange(silent=("c-0",))
    records = played(exchange, "buffer", {"size": 2}, num_rounds=6, round_timeout=5.5)
    timeouts = [r for record in records for r in record.rejected]
    assert {(r.client, r.code) for r in timeouts} == {("c-0", "timeout")}
    # Round 3 gave it up at 5.5 s and closed at 6.
    assert [second for client, _, second in exchange.asked if client == "c-0"] == [0.0, 6.0]


def test_who_fails_is_not_asked_again_in_the_same_round() -> None:
    exchange = ClockedExchange(failing=("c-0",))
    records = played(exchange, "buffer", {"size": 3}, num_rounds=3)
    asked = [(client, base) for client, base, _ in exchange.asked]
    assert len(asked) == len(set(asked))
    assert all("c-0" not in record.answered for record in records)
    assert [r.client for r in records[0].rejected] == ["c-0"]


def test_a_buffer_larger_than_the_federation_closes_with_all() -> None:
    records = played(ClockedExchange(), "buffer", {"size": 50}, num_rounds=2)
    assert [record.clients_answered for record in records] == [5, 5]


def test_nobody_answers() -> None:
    everybody = [f"c-{k}" for k in range(5)]
    with pytest.raises(ParticipationError, match=r"round 1: no client answered; tried 3 times"):
        played(ClockedExchange(failing=everybody), "each")


def test_who_waits_for_everybody_can_have_no_other_rule() -> None:
    exchange = StockExchange(LocalGrid(ClientApp(), [{}]))
    with pytest.raises(BouquetError, match="StockExchange waits for everybody"):
        opened(exchange, "each")  # type: ignore[arg-type]


@settings(max_examples=20, deadline=None)
@given(
    # c-0 at least is back before the timeout: where nobody ever is, the run ends with an error.
    st.tuples(st.integers(1, 6), *[st.integers(1, 9)] * 4),
    st.sampled_from([("each", {}), ("buffer", {"size": 3}), ("interval", {"seconds": 2.5})]),
    st.integers(1, 7),
    st.integers(0, 3),
)
def test_going_on_is_as_if_nothing_had_happened(
    seconds: tuple[int, ...], rule: tuple[str, dict[str, object]], stop: int, concurrency: int
) -> None:
    """Whatever the speeds, wherever the run was ended; c-3 never answers."""
    speeds = {f"c-{k}": float(s) for k, s in enumerate(seconds)}
    args = {**rule[1], "concurrency": concurrency}

    def fresh() -> tuple[RoundLoop, FedAvg, ClockedExchange]:
        exchange = ClockedExchange(speeds, silent=("c-3",))
        loop, strategy = opened(exchange, rule[0], args, num_rounds=8, round_timeout=6.5)
        return loop, strategy, exchange

    whole, expected, at = fresh()
    list(whole.rounds())
    part, first, _ = fresh()
    for record in part.rounds():
        if record.round == stop:
            break
    later, second, exchange = fresh()
    second.restore(first.state())
    text = json.dumps(dict(part.state().values))
    later.resume(stop + 1, part.ledger, State(part.state().arrays, json.loads(text)))
    list(later.rounds())
    np.testing.assert_array_equal(second.arrays.vector, expected.arrays.vector)
    assert exchange.now() == at.now()


def test_each_start_is_kept_once() -> None:
    loop, _ = opened(ClockedExchange(), "each", num_rounds=3)
    for record in loop.rounds():
        if record.round == 2:
            break
    state = loop.state()
    out = json.loads(str(state.values["open/out"]))
    assert [(item["client"], item["base_round"], item["start"]) for item in out] == [
        *[("c-2", 1, 0), ("c-3", 1, 0), ("c-4", 1, 0)]
    ]
    # The first model, and what c-1 trained from it, which waits.
    assert len(state.arrays) == 2


@pytest.mark.parametrize("name", ["each", "buffer", "first", "interval"])
def test_a_start_is_let_go_of_when_its_training_is_over(name: str) -> None:
    exchange = ClockedExchange(failing=("c-1",), silent=("c-3",))
    args = {"buffer": {"size": 2}, "interval": {"seconds": 1.5}}.get(name, {})
    loop, _ = opened(exchange, name, args, num_rounds=8, round_timeout=5.5)
    for _ in loop.rounds():
        assert loop._rounds._out._sent.keys() == exchange.under_way.keys()  # type: ignore[union-attr]


def test_rebasing_needs_the_same_schema() -> None:
    from models.errors import ClientError

    one = NamedArrays.of({"a": np.zeros(2, np.float32)})
    other = NamedArrays.of({"a": np.zeros(3, np.float32)})
    with pytest.raises(ClientError, match="another schema"):
        rebased(one, one, other, one)


def test_what_comes_beside_the_model_is_not_moved() -> None:
    def both(a: float, table: float) -> NamedArrays:
        return NamedArrays.of({"a": np.full(1, a, np.float32), "t": np.full(1, table, np.float32)})

    moved = rebased(both(3, 7), both(1, 1), both(10, 20), {"a"})
    assert (moved["a"][0], moved["t"][0]) == (12.0, 7.0)


class Came(NamedTuple):
    base_round: int
    sent: float
    arrived: float


def standing(waiting: int, under_way: int, available: int, wanted: int = 0) -> Standing:
    names = [f"c-{k}" for k in range(waiting + under_way + available)]
    return Standing(
        round=1,
        opened=0.0,
        now=1.0,
        idle=lambda: tuple(names[waiting + under_way :]),
        under_way=dict.fromkeys(names[waiting : waiting + under_way], 1),
        waiting={name: Came(1, 0.0, 1.0) for name in names[:waiting]},
        wanted=wanted,
    )


def test_how_many_each_rule_asks() -> None:
    strategy = FedAvg()

    def ask(name: str, where: Standing, **args: int | float) -> int:
        rule = make_closing(name, strategy, args)
        assert rule is not None
        return rule.ask(where)

    assert ask("each", standing(1, 2, 7)) == 7
    assert ask("each", standing(1, 2, 7, wanted=5)) == 3
    assert ask("buffer", standing(1, 2, 7, wanted=5), concurrency=2) == 0
    assert ask("first", standing(0, 0, 100, wanted=10)) == 13
    assert ask("first", standing(0, 1, 100, wanted=10)) == 0
    assert ask("first", standing(0, 0, 13)) == 13  # k = 10 of 13


def test_those_who_come_after_the_asking_do_not_change_k() -> None:
    rule = make_closing("first", FedAvg(), {})
    assert rule is not None
    assert rule.ask(standing(0, 0, 13)) == 13
    assert rule.closes(standing(9, 4, 100)) is None
    assert rule.closes(standing(10, 3, 100)) == [f"c-{k}" for k in range(10)]
    assert rule.ask(standing(0, 0, 26)) == 26
    assert rule.closes(standing(10, 16, 0)) is None


def test_options_are_checked_by_name() -> None:
    assert closing_option_errors("all", {"size": 3}) != []
    assert closing_option_errors("buffer", {"size": 0}) != []
    assert closing_option_errors("first", {"share": 0.5, "size": 3}) == []
    with pytest.raises(ConfigurationError, match="bufer"):
        make_closing("bufer", FedAvg())
