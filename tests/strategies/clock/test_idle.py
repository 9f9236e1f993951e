"""Who can be asked now is the same whether it is kept up or looked for anew."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.participation import make_participation
from strategies.rounds.context import RoundContext
from strategies.rounds.late.idle import Idle
from strategies.transport.roster import Client, Node, Roster

NAMES = [f"c-{number}" for number in range(12)]


def roster() -> Roster:
    made = Roster()
    made.join(Node(0, "even"), [Client(name, 0, 1) for name in NAMES[::2]])
    made.join(Node(1, "odd"), [Client(name, 1, 1) for name in NAMES[1::2]])
    return made


def context(where: Roster, server_round: int = 1, participation: str = "always") -> RoundContext:
    model = make_participation(participation, {}, seed=4)
    return RoundContext(server_round, 9, where, participation=model)


EVENTS = st.lists(st.tuples(st.sampled_from(["took", "freed"]), st.sampled_from(NAMES)))


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["always", "bernoulli", "markov"]),
    st.lists(st.one_of(EVENTS, st.integers(0, 3)), max_size=12),
)
def test_it_is_what_a_look_at_everybody_finds(
    participation: str, moves: list[list[tuple[str, str]] | int]
) -> None:
    where, idle, busy, server_round = roster(), Idle(), set[str](), 1
    idle.look(context(where, 1, participation), lambda: busy)
    for move in moves:
        if isinstance(move, int):
            server_round += move
            if move == 3:
                where.leave(1)
            if move == 2:
                where.join(Node(1, "odd"), [Client(name, 1, 1) for name in NAMES[1::2]])
        else:
            for what, name in move:
                (busy.add if what == "took" else busy.discard)(name)
                getattr(idle, what)([name])
        now = context(where, server_round, participation)
        idle.look(now, lambda: busy)
        expected = replace(now, busy=frozenset(busy)).available
        assert tuple(idle) == expected
        assert len(idle) == len(expected)
        assert tuple(idle[1:4]) == expected[1:4]


def test_strategies_see_it_as_who_is_available() -> None:
    where, idle = roster(), Idle()
    idle.look(context(where), lambda: ["c-0"])
    seen = replace(context(where), idle=idle)
    assert tuple(seen.available) == tuple(NAMES[1:])
    assert seen.within({"c-0", "c-3", "c-4"}).available == ("c-3", "c-4")
    with pytest.raises(IndexError):
        idle[11]


def test_nobody_is_looked_at_while_nobody_may_have_come() -> None:
    def never() -> set[str]:
        raise AssertionError("looked again")

    where, idle = roster(), Idle()
    idle.look(context(where, 1), set)
    idle.look(context(where, 2), never)
    where.leave(1)
    idle.look(context(where, 2), set)
    assert tuple(idle) == tuple(NAMES[::2])
