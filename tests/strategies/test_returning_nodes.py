"""Nodes that are killed, come back under another id, or lose a process: who is in the roster."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedbouquet.testing import LocalGrid
from models.messages import HELLO
from strategies.transport.hello import Registrar
from strategies.transport.preparation import Preparation

_PLAN = Preparation(plan="{}", plan_hash="plan", base="base")


def _card(client: str) -> dict[str, object]:
    return {
        "client": client,
        "kind": "images",
        "examples": 10,
        "test_examples": 2,
        "labels": ["a"],
        "label_counts": None,
        "groups": {},
    }


class _Nodes:
    """A ClientApp for nodes with one client each; `fail` says which messages kill the process."""

    def __init__(self) -> None:
        self.fail: Callable[[str, str], bool] = lambda kind, client: False
        self.greeted: list[str] = []

    def __call__(self, message: Message, context: Context) -> Message:
        client = str(context.node_config["client-id"])
        kind = message.metadata.message_type
        if kind == HELLO:
            self.greeted.append(client)
        if self.fail(kind, client):
            raise RuntimeError
        hello = {
            "clients": [_card(client)],
            "base": "base",
            "shipped": [],
            "workers": 1,
            "persistent": False,
            "pools": False,
            "code": "code",
            "versions": {},
        }
        answer = hello if kind == HELLO else {"base": "base"}
        config = ConfigRecord({"answer": json.dumps(answer)})
        return Message(RecordDict({"config": config}), reply_to=message)


@pytest.fixture
def nodes() -> _Nodes:
    return _Nodes()


@pytest.fixture
def grid(nodes: _Nodes) -> LocalGrid:
    return LocalGrid(cast(ClientApp, nodes), [{"client-id": "a"}, {"client-id": "b"}])


@pytest.fixture
def registrar(grid: LocalGrid) -> Registrar:
    made = Registrar(grid, {}, "code", timeout=1.0)
    made.gather(2)
    made.prepare(_PLAN)
    assert made.roster.reachable == ("a", "b")
    return made


def _prepared(grid: LocalGrid) -> list[int]:
    return [node for kind, node in grid.sent if kind != HELLO]


def test_a_restarted_node_waits_until_its_former_self_is_gone(
    registrar: Registrar, grid: LocalGrid, nodes: _Nodes
) -> None:
    grid.nodes[2000] = {"client-id": "b"}
    for _ in range(3):
        registrar.refresh()
        assert registrar.roster["b"].node == 1001
        assert "that one is gone" in registrar.refused["b"]
    assert nodes.greeted == ["a", "b", "b"]  # the newcomer is asked once
    del grid.nodes[1001]
    registrar.refresh()
    assert registrar.roster["b"].node == 2000
    assert registrar.roster.reachable == ("a", "b")
    assert registrar.refused == {}
    assert _prepared(grid) == [1000, 1001, 2000]


def test_of_two_that_wait_for_the_same_client_one_is_let_in(
    registrar: Registrar, grid: LocalGrid
) -> None:
    grid.nodes.update({2000: {"client-id": "b"}, 2001: {"client-id": "b"}})
    registrar.refresh()
    del grid.nodes[1001]
    registrar.refresh()
    assert registrar.roster["b"].node == 2000
    del grid.nodes[2000]
    registrar.refresh()
    assert registrar.roster["b"].node == 2001


def test_one_that_waits_and_goes_is_forgotten(registrar: Registrar, grid: LocalGrid) -> None:
    grid.nodes[2000] = {"client-id": "b"}
    registrar.refresh()
    del grid.nodes[2000]
    registrar.refresh()
    del grid.nodes[1001]
    registrar.refresh()
    assert registrar.roster.reachable == ("a",)


def test_a_node_that_comes_back_under_its_own_id_is_greeted_and_prepared(
    registrar: Registrar, grid: LocalGrid
) -> None:
    away = grid.nodes.pop(1001)
    registrar.refresh()
    assert registrar.roster.reachable == ("a",)
    grid.nodes[1001] = away
    registrar.refresh()
    assert registrar.roster.reachable == ("a", "b")
    assert _prepared(grid) == [1000, 1001, 1001]


@pytest.mark.parametrize("kind", ["query.hello", "query.prepare"])
def test_a_node_whose_process_is_lost_is_asked_again(
    registrar: Registrar, grid: LocalGrid, nodes: _Nodes, kind: str
) -> None:
    grid.nodes[2000] = {"client-id": "c"}
    nodes.fail = lambda now, client: (now, client) == (kind, "c")
    registrar.refresh()
    assert registrar.roster.reachable == ("a", "b")
    assert "ClientApp failed" in registrar.refused["node 2000" if "hello" in kind else "c"]
    nodes.fail = lambda now, client: False
    registrar.refresh()
    assert registrar.roster.reachable == ("a", "b", "c")
    assert registrar.refused == {}


@pytest.mark.parametrize("kind", ["query.hello", "query.prepare"])
def test_but_not_for_ever(registrar: Registrar, grid: LocalGrid, nodes: _Nodes, kind: str) -> None:
    grid.nodes[2000] = {"client-id": "c"}
    nodes.fail = lambda now, client: (now, client) == (kind, "c")
    for _ in range(6):
        registrar.refresh()
    assert nodes.greeted.count("c") == 3


def test_losing_every_node_in_mid_run_is_left_to_the_quorum(
    registrar: Registrar, grid: LocalGrid, nodes: _Nodes
) -> None:
    grid.nodes.clear()
    grid.nodes[2000] = {"client-id": "a"}
    nodes.fail = lambda kind, client: kind == "query.prepare"
    registrar.refresh()
    assert registrar.roster.reachable == ()
