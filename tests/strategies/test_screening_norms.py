"""Row B18: an update far larger than those accepted before is recorded, clipped or refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from flwr.app import ArrayRecord, RecordDict
from hostile_clients import BAD, KEYS, SCHEMA, Outcome, packed, plain, run, start, without_bad
from hypothesis import given
from hypothesis import strategies as st

from models.records import from_stock, to_stock
from models.results import ClientResult
from models.schema import NamedArrays, Schema
from strategies.transport.client_grid import ClientGrid
from strategies.transport.screening import NormRule, update_norm
from strategies.transport.screening.norms import NormMemory, clipped

Policy = Literal["record", "clip", "reject"]
BOTH = pytest.mark.parametrize("stock", [False, True], ids=["packed", "stock"])
EVERY_KEY = pytest.mark.parametrize("key", KEYS, ids=["first", "middle", "last"])


def norms(begin: NamedArrays, ends: Sequence[NamedArrays]) -> list[float]:
    return [float(np.linalg.norm(end.vector - begin.vector)) for end in ends]


def attacked(policy: Policy, key: str, *, stock: bool, by: float = 50.0) -> Outcome:
    """Two rounds; in the second the bad client moves one array by `by`."""
    rounds = 0

    def spoiled(arrays: NamedArrays) -> NamedArrays:
        nonlocal rounds
        rounds += 1
        moved = arrays.replace(arrays.vector.copy())
        if rounds == 2:
            moved[key].reshape(-1)[0] += by
        return moved

    def result(done: ClientResult) -> ClientResult:
        assert done.arrays is not None
        return replace(done, arrays=spoiled(done.arrays))

    def spoil(content: RecordDict) -> RecordDict:
        arrays = from_stock(content.array_records["arrays"], dict(SCHEMA.facts))
        content["arrays"] = ArrayRecord(dict(to_stock(spoiled(arrays))))
        return content

    rule = NormRule(policy, 100.0)
    return run(plain(spoil, rule=rule) if stock else packed(result=result, rule=rule), rounds=2)


def bad_name(stock: bool) -> str:
    return str(1000 + BAD) if stock else f"c-{BAD}"


@BOTH
@EVERY_KEY
def test_b18_is_recorded_by_default_and_changes_nothing(stock: bool, key: str) -> None:
    outcome = attacked("record", key, stock=stock)
    (remark,) = outcome.record.remarks
    assert (remark.client, remark.code, remark.round) == (bad_name(stock), "norm", 2)
    assert remark.detail.startswith("the update's norm 50 is above 100 times the median 0.0")
    assert outcome.record.clients_answered == 4
    assert outcome.arrays[key].reshape(-1)[0] > 10


@BOTH
@EVERY_KEY
def test_b18_is_refused_if_told_so(stock: bool, key: str) -> None:
    outcome = attacked("reject", key, stock=stock)
    (rejection,) = outcome.record.rejected
    assert (rejection.client, rejection.code) == (bad_name(stock), "norm")
    assert outcome.record.clients_answered == 3
    assert np.abs(outcome.arrays.vector - start().vector).max() < 0.1


@BOTH
@EVERY_KEY
def test_b18_is_clipped_to_the_limit_if_told_so(stock: bool, key: str) -> None:
    outcome = attacked("clip", key, stock=stock)
    (remark,) = outcome.record.remarks
    assert remark.detail.endswith("; clipped")
    assert outcome.record.clients_answered == 4
    # Its weight is 11 of 46, its norm at most 100 medians of about 0.02.
    moved = outcome.arrays[key].reshape(-1)[0] - start()[key].reshape(-1)[0]
    assert 0.2 < moved < 0.9


@pytest.mark.parametrize("policy", ["record", "clip", "reject"])
def test_the_first_round_has_no_measure(policy: Policy) -> None:
    def result(done: ClientResult) -> ClientResult:
        assert done.arrays is not None
        return replace(done, arrays=done.arrays.replace(done.arrays.vector + np.float32(9)))

    (rounds,) = [run(packed(result=result, rule=NormRule(policy, 2.0)))]
    assert (rounds.record.remarks, rounds.record.rejected) == ((), ())


def test_a_refused_reply_leaves_no_norm() -> None:
    grid = packed(result=lambda done: replace(done, num_examples=-1))
    outcome = run(grid)
    assert len(grid.gate.state()["norms"]) == 3  # type: ignore[arg-type]
    np.testing.assert_array_equal(outcome.arrays.vector, without_bad(False).vector)


def test_the_memory_does_not_know_who_came_first() -> None:
    def after(order: Sequence[int]) -> tuple[object, float]:
        memory = NormMemory()
        for server_round in range(1, 400):
            memory.open_round(server_round)
            for client in order:
                memory.accept(f"c-{client}", server_round + client / 7)
        return memory.state(), memory.median

    assert after([0, 1, 2, 10]) == after([10, 2, 0, 1])


def test_what_is_accepted_counts_from_the_next_round_on() -> None:
    memory = NormMemory()
    memory.open_round(1)
    memory.accept("a", 1.0)
    memory.accept("b", 3.0)
    assert memory.median == 0.0
    memory.open_round(1)  # another attempt: the same clients answer again
    memory.accept("a", 5.0)
    assert memory.median == 0.0
    memory.open_round(2)
    assert memory.median == 4.0
    memory.open_round(1)  # another run
    assert memory.median == 0.0


@given(st.lists(st.lists(st.floats(0, 1e9), max_size=5), max_size=6), st.integers(0, 5))
def test_a_restored_memory_goes_on_alike(rounds: list[list[float]], cut: int) -> None:
    whole, resumed = NormMemory(), NormMemory()
    for number, found in enumerate(rounds, start=1):
        if number == cut:
            fresh = NormMemory()
            fresh.restore(json.loads(json.dumps(resumed.state())))
            resumed = fresh
        for memory in (whole, resumed):
            memory.open_round(number)
            for client, norm in enumerate(found):
                memory.accept(f"c-{client}", norm)
        assert whole.median == resumed.median
    assert whole.state() == resumed.state()


def test_the_grid_forgets_what_it_is_told_to() -> None:
    grid: ClientGrid = packed()
    run(grid, rounds=2)
    assert len(grid.gate.state()["norms"]) == 8  # type: ignore[arg-type]
    grid.gate.restore({})
    assert grid.gate.state() == {"round": 0, "norms": []}


# ---- the norm itself -------------------------------------------------------------------------

LARGE = Schema.of({"a": np.zeros(150_000, np.float32), "b": np.zeros(50_001, np.float32)})


@pytest.mark.parametrize("place", [0, 65_535, 65_536, 149_999, 150_000, 200_000])
def test_norms_over_many_blocks(place: int) -> None:
    generator = np.random.default_rng(0)
    begin = NamedArrays(LARGE, generator.normal(size=LARGE.size).astype(np.float32))
    end = begin.replace(begin.vector.copy())
    end.vector[place] += 3
    assert update_norm(end, begin) == pytest.approx(3, rel=1e-6)
    assert update_norm(begin, None) == pytest.approx(np.linalg.norm(begin.vector), rel=1e-6)
    end.vector[place] = np.nan
    with pytest.raises(Exception, match=f"1 numbers .* '{'a' if place < 150_000 else 'b'}'"):
        update_norm(end, begin)


def test_numbers_too_large_for_single_precision_squares() -> None:
    begin = start()
    end = begin.replace(np.full(SCHEMA.size, 2e38, np.float32))
    assert update_norm(end, begin) == pytest.approx(2e38 * SCHEMA.size**0.5)
    shrunk = clipped(end, begin, 1e-38)
    assert update_norm(shrunk, begin) == pytest.approx(2 * SCHEMA.size**0.5, rel=1e-5)


def test_doubles_too_large_to_be_averaged_are_refused() -> None:
    arrays = NamedArrays.of({"a": np.zeros(3), "b": np.array([1e200, 1.0])})
    with pytest.raises(Exception, match=r"1 numbers are above 1e\+150, first in 'b'"):
        update_norm(arrays, None)


def test_a_reply_of_another_schema_is_all_change() -> None:
    sent = NamedArrays.of({"other": np.ones(7, np.float32)})
    assert update_norm(NamedArrays.of({"a": np.full(4, 2, np.float32)}), sent) == 4.0
