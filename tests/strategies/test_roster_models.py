"""Who has which base model, and what of it a node is sent."""

from __future__ import annotations

from dataclasses import replace

from strategies.transport.greeting import Greeting, read_greeting
from strategies.transport.preparation import OtherBase, Preparation
from strategies.transport.roster import Client, Node, Roster

TWO = (("small", "f-small"), ("run", "f-run"))


def roster(count: int = 5, *, pools: bool = True) -> Roster:
    found = Roster()
    clients = [Client(f"c-{i}", 0) for i in range(count)]
    found.join(Node(0, "c-0", persistent=True, pools=pools), clients)
    return found


def variants(found: Roster) -> list[str]:
    return [client.variant for client in found]


def test_clients_of_a_divided_data_set_take_models_in_turn() -> None:
    found = roster()
    found.assign_variants(TWO, "f-run")
    assert variants(found) == ["small", "", "small", "", "small"]
    found.assign_variants((), "f-run")
    assert variants(found) == ["small", "", "small", "", "small"]


def test_a_node_with_data_of_its_own_says_itself_what_it_has() -> None:
    found = roster(pools=False)
    found.assign_variants(TWO, "f-run")
    assert variants(found) == [""] * 5


def test_a_client_keeps_its_model_when_its_node_comes_again() -> None:
    found = roster()
    found.assign_variants(TWO, "f-run")
    found.leave(0)
    found.join(Node(7, "c-0", pools=True), [Client(f"c-{i}", 7) for i in range(5)])
    assert variants(found) == ["small", "", "small", "", "small"]
    found.join(Node(8, "c-0"), [Client("c-0", 8, variant="own")])
    assert found["c-0"].variant == "own"
    found.same_model(8)
    assert found["c-0"].variant == ""


def test_a_resumed_run_knows_the_models_of_those_that_are_away() -> None:
    found, again = roster(), Roster()
    found.assign_variants(TWO, "f-run")
    again.recall(found.to_dicts())
    assert variants(again) == variants(found)
    # A checkpoint from before there were models of the clients' own.
    older = Roster()
    older.recall([{k: v for k, v in d.items() if k != "variant"} for d in found.to_dicts()])
    assert variants(older) == [""] * 5


def greeting(variant: str = "", **answer: object) -> Greeting:
    card = {"client": "a", "examples": 1, "test_examples": 1, "kind": "image", "variant": variant}
    said = {"clients": [card], "code": "x", "base": None, "shipped": [], **answer}
    return read_greeting(1, said)


def bases(mixes: bool = True) -> Preparation:
    small, large = OtherBase("f-small", lambda: b"small"), OtherBase("f-large")
    return Preparation("{}", "p", "f-run", lambda: b"run", {"small": small, "large": large}, mixes)


def test_a_node_is_sent_what_its_clients_may_need_and_what_can_be_sent() -> None:
    told = bases()
    assert told.lacking(greeting(pools=True)).keys() == {"f-run", "f-small"}
    assert told.lacking(greeting(pools=True, shipped=["f-small"])).keys() == {"f-run"}
    # A node with data of its own and no word of a model takes the run's.
    assert told.lacking(greeting()).keys() == {"f-run"}
    assert told.lacking(greeting(base="f-run")).keys() == set()
    # Its own embedded variant, and the run's model, which a method may put beside it.
    assert told.lacking(greeting("small")).keys() == {"f-run", "f-small"}
    assert told.lacking(greeting("mine", base="f-mine")).keys() == {"f-run"}
    assert replace(told, ship=None).lacking(greeting("large")) == {}


def test_another_base_will_do_where_the_node_says_so_and_the_method_can() -> None:
    assert bases().problem(greeting("mine"), "f-mine") == ""
    assert bases().problem(greeting(), "f-run") == ""
    assert "install the same checkpoint" in bases().problem(greeting(), "f-mine")
    refused = bases(mixes=False).problem(greeting("mine"), "f-mine")
    assert "take a method for models that differ" in refused
    assert bases(mixes=False).problem(greeting("mine"), "f-run") == ""
