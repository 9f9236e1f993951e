"""Which slot a round belongs to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.time.slots import ONE_SLOT, Slots


@pytest.mark.parametrize(
    ("slots", "expected"),
    [
        (ONE_SLOT, [0, 0, 0, 0, 0, 0, 0, 0]),
        (Slots(every=2), [0, 0, 0, 1, 1, 2, 2, 3]),
        (Slots(every=2, count=2), [0, 0, 0, 1, 1, 1, 1, 1]),
        (Slots(starts=(2, 5)), [0, 0, 1, 1, 1, 2, 2, 2]),
    ],
)
def test_rounds_belong_to_slots(slots: Slots, expected: list[int]) -> None:
    assert [slots.of(server_round) for server_round in range(8)] == expected
    first = [r for r in range(1, 8) if expected[r] != expected[r - 1]]
    assert [r for r in range(8) if slots.begins(r)] == first
    assert slots.first_rounds(7) == (1, *first)


@given(st.integers(1, 9), st.integers(2, 6))
def test_even_slots_are_the_same_named_one_by_one(every: int, count: int) -> None:
    named = Slots(starts=tuple(1 + every * slot for slot in range(1, count)))
    even = Slots(every, count)
    assert [named.of(r) for r in range(80)] == [even.of(r) for r in range(80)]
