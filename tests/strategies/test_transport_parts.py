from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ClientError
from models.schema import NamedArrays
from strategies.fedavg import FedAvg
from strategies.rounds.context import RoundContext
from strategies.transport.packing import PACKS_A_WORKER, plan_packs
from strategies.transport.roster import Client, Node, Roster, natural_key
from strategies.transport.screening import check_weight, update_norm


def roster(clients: int, nodes: int = 2, *, workers: int = 1, persistent: bool = True) -> Roster:
    found = Roster()
    for index in range(nodes):
        mine = [Client(f"client-{i:04d}", index, 10) for i in range(index, clients, nodes)]
        found.join(Node(index, mine[0].id, workers, persistent), mine)
    return found


def test_ids_sort_as_people_read_them() -> None:
    assert sorted(["c-10", "c-2", "b-3"], key=natural_key) == ["b-3", "c-2", "c-10"]
    assert sorted(["m²-2", "m²-1", "²"], key=natural_key) == ["m²-1", "m²-2", "²"]
    assert roster(5).ids == tuple(f"client-{i:04d}" for i in range(5))


def test_unreachable_is_not_gone() -> None:
    found = roster(4)
    found.leave(1)
    assert found.reachable == ("client-0000", "client-0002")
    assert len(found) == 4
    found.join(Node(9, "client-0001"), [Client("client-0001", 9, 10)])
    assert found.reachable == ("client-0000", "client-0001", "client-0002")
    assert found["client-0001"].node == 9


@given(
    clients=st.integers(2, 60),
    nodes=st.integers(1, 2),
    workers=st.integers(1, 3),
    most=st.integers(1, 20),
    persistent=st.booleans(),
)
def test_packs_hold_every_client_once_in_order_and_within_bytes(
    clients: int, nodes: int, workers: int, most: int, persistent: bool
) -> None:
    found = roster(clients, nodes, workers=workers, persistent=persistent)
    packs = plan_packs(found, found.ids, client_bytes=10, pack_bytes=10 * most)
    for node_id, own in packs.items():
        members = [c for pack in own for c in pack.clients]
        assert members == [c for c in found.ids if found[c].node == node_id]
        sizes = [len(pack.clients) for pack in own]
        assert max(sizes) <= most
        if persistent:
            # The last pack decides how long a worker may be left alone at a round's end.
            assert sizes[-1] <= max(1, math.ceil(len(members) / (PACKS_A_WORKER * workers)))
            if len(members) >= 2:
                assert len(own) >= 2
        else:
            assert max(sizes) - min(sizes) <= 1
            assert len(own) == math.ceil(len(members) / most)


def test_a_payload_larger_than_a_pack_travels_alone() -> None:
    found = roster(4, 1, persistent=False)
    (packs,) = plan_packs(found, found.ids, client_bytes=100, pack_bytes=10).values()
    assert [pack.clients for pack in packs] == [(c,) for c in found.ids]


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, -5, 2.5, True, "7", [3], None, 1e18]
)
def test_a_weight_that_is_no_count_is_refused(value: object) -> None:
    with pytest.raises(ClientError) as caught:
        check_weight(value, None)
    assert caught.value.code_name == "weight"


def test_a_weight_is_cut_to_what_the_client_declared() -> None:
    assert check_weight(7, 10) == 7
    assert check_weight(7.0, None) == 7
    assert check_weight(10**18, 10) == 10
    assert check_weight(0, 10) == 0


@pytest.mark.parametrize("key", ["a", "m", "z"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_counted_and_placed(key: str, value: float) -> None:
    arrays = NamedArrays.of({k: np.zeros((2, 2), np.float32) for k in "amz"})
    arrays[key][1, :] = value
    with pytest.raises(ClientError) as caught:
        update_norm(arrays, None)
    assert caught.value.code_name == "nonfinite"
    assert caught.value.detail == f"2 numbers are NaN or infinite, first in '{key}'"


def test_large_finite_numbers_pass() -> None:
    large = NamedArrays.of({"a": np.full(4, 1e30, np.float32)})
    assert update_norm(large, None) == pytest.approx(2e30)


def test_the_cohort_is_a_function_of_seed_and_round() -> None:
    def cohort(seed: int, server_round: int) -> list[str]:
        context = RoundContext(server_round, 9, roster(50), clients_per_round=10, seed=seed)
        return list(FedAvg().sample(context))

    assert cohort(1, 1) == cohort(1, 1)
    assert cohort(1, 1) != cohort(1, 2)
    assert cohort(1, 1) != cohort(2, 1)
    assert len(set(cohort(1, 1))) == 10
    assert cohort(1, 1) == sorted(cohort(1, 1))


def test_every_client_is_sampled_equally_often() -> None:
    found = roster(10)
    counts = dict.fromkeys(found.ids, 0)
    for server_round in range(2000):
        for client in FedAvg().sample(RoundContext(server_round, 1, found, 3, 0)):
            counts[client] += 1
    # 600 expected; five standard deviations of a binomial are 102.
    assert all(498 < count < 702 for count in counts.values())
