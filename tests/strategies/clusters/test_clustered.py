"""The seam of all clustered methods: each cluster's rule sees its members and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from concept_clients import SCHEMA, context, first_model

from app.registry import registry
from models.errors import ConfigurationError
from models.schema import NamedArrays
from strategies.base import Strategy
from strategies.clusters.by_cluster import ByCluster
from strategies.clusters.clustered import Clustered
from strategies.clusters.features import Features
from strategies.fedavg import FedAvg
from strategies.rounds.context import RoundContext, Update
from strategies.stale.fedstale import FedStale
from strategies.stale.mifa import Mifa


class TwoHalves(Clustered):
    """Even clients in one cluster, odd ones in the other, but as `moved` says."""

    def initialise(self, arrays: NamedArrays) -> None:
        super().initialise(arrays)
        self.moved: dict[str, int] = {}
        for _ in range(2):
            self.add_cluster()

    def told(self, update: Update, context: RoundContext) -> int | None:
        return self.moved.get(update.client, int(update.client[2:]) % 2)


def update(client: int, value: float, examples: int = 10) -> Update:
    arrays = NamedArrays(SCHEMA, np.full(SCHEMA.size, value, np.float32))
    return Update(f"c-{client}", arrays, examples)


def step(strategy: Strategy, where: RoundContext, streams: list[list[Update]]) -> ByCluster:
    parts: list[ByCluster] = []
    for stream in streams:
        parts.append(strategy.begin(where))  # type: ignore[arg-type]
        for item in stream:
            parts[-1].add(item)
    for other in parts[1:]:
        parts[0].merge(other)
    strategy.conclude(parts[0], where)
    return parts[0]


def started(inner: Strategy | None = None, folder: Path | None = None) -> TwoHalves:
    strategy = TwoHalves(inner)
    if folder is not None:
        strategy.keep_in(folder)
    strategy.initialise(NamedArrays(SCHEMA, np.zeros(SCHEMA.size, np.float32)))
    return strategy


def level(strategy: Strategy, client: int) -> float:
    """The model of a client, all of whose numbers are equal here."""
    vector = strategy.model_for(f"c-{client}").vector
    assert np.ptp(vector) == 0
    return float(vector[0])


def test_each_cluster_takes_its_own_mean_over_all_streams() -> None:
    strategy = started()
    updates = [update(0, 1.0), update(1, 5.0), update(2, 3.0, 30), update(3, 7.0)]
    step(strategy, context(1), [updates[:2], updates[2:]])
    assert [level(strategy, i) for i in range(4)] == [2.5, 6.0, 2.5, 6.0]
    assert strategy.assignment == {"c-0": 0, "c-1": 1, "c-2": 0, "c-3": 1}
    assert strategy.figures() == {"clusters": 2.0, "moves": 0.0}
    assert strategy.model is strategy.clusters[0].arrays
    step(strategy, context(2), [[update(5, 1.0)]])
    assert strategy.model is strategy.clusters[1].arrays
    assert {k: float(m.vector[0]) for k, m in strategy.clustered_models.items()} == {0: 2.5, 1: 1.0}


def test_an_absent_cluster_stays_as_it_is() -> None:
    strategy = started(registry().compose(("fedopt", "fedavg"), {"fedopt": {"optimizer": "sgd"}}))
    step(strategy, context(1), [[update(0, 1.0), update(1, 5.0)]])
    before = level(strategy, 1)
    step(strategy, context(2), [[update(0, 2.0)]])
    # Its momentum would have carried it on.
    assert level(strategy, 1) == before
    assert level(strategy, 0) > 1.0


def test_clients_without_examples_join_nothing() -> None:
    strategy = started()
    step(strategy, context(1), [[update(0, 9.0, 0)]])
    assert strategy.assignment == {}
    assert level(strategy, 0) == 0.0


def test_shares_are_those_of_the_cluster() -> None:
    """alpha_i = n_i over the sum of the members', not of everybody's."""
    strategy = started(FedStale(beta=0.0))
    first = [update(i, 1.0) for i in range(4)]
    step(strategy, context(1, clients=4), [first])
    # p_i is 1 in round 2 too: all took part in all rounds. Member 0 of {0, 2} counts 1/2.
    step(strategy, context(2, clients=4), [[update(0, 5.0)]])
    assert level(strategy, 0) == pytest.approx(1.0 + 0.5 * 4.0)
    everybody = FedStale(beta=0.0)
    everybody.initialise(NamedArrays(SCHEMA, np.zeros(SCHEMA.size, np.float32)))
    step(everybody, context(1, clients=4), [first])
    step(everybody, context(2, clients=4), [[update(0, 5.0)]])
    assert level(everybody, 0) == pytest.approx(1.0 + 0.25 * 4.0)


def test_the_part_of_a_round_that_a_cluster_sees() -> None:
    whole = context(3, clients=6)
    part = whole.within({"c-1", "c-4", "gone"})
    assert part.available == ("c-1", "c-4")
    assert part.shares.clients == 2
    assert part.shares.total(0.0, 0) == 20.0
    assert part.probability("c-1") == 1.0
    sampled = RoundContext(3, 9, whole.roster, clients_per_round=3, seed=3)
    # Three of six were drawn from everybody, or one of two in the part.
    assert sampled.within({"c-1", "c-4"}).probability("c-1") == 0.5
    assert sampled.within({"c-1", "c-4"}, 1).probability("c-1") == 0.5
    assert sampled.within({"c-1", "c-4"}, 0).probability("c-1") == 1.0
    assert sampled.within({"c-1"}).within({"c-1"}).probability("c-1") == 0.5
    assert part.generator("x").random() == whole.generator("x").random()


def test_a_client_that_moves_is_forgotten_where_it_was(tmp_path: Path) -> None:
    strategy = started(Mifa(), tmp_path)
    step(strategy, context(1, clients=4), [[update(i, 4.0) for i in range(4)]])
    assert [len(strategy.clusters[k].memory) for k in (0, 1)] == [2, 2]  # type: ignore[attr-defined]
    strategy.moved = {"c-2": 1}
    step(strategy, context(2, clients=4), [[update(2, 8.0)]])
    assert strategy.figures()["moves"] == 1.0
    assert strategy.assignment["c-2"] == 1
    names = [[c for c, *_ in strategy.clusters[k].memory.clients(9)] for k in (0, 1)]  # type: ignore[attr-defined]
    assert names == [["c-0"], ["c-1", "c-2", "c-3"]]
    assert sorted(place.name for place in tmp_path.iterdir())[:2] == ["cluster-0", "cluster-1"]


def test_one_that_left_for_good_is_forgotten_everywhere(tmp_path: Path) -> None:
    strategy = started(Mifa(), tmp_path)
    step(strategy, context(1), [[update(i, 4.0) for i in range(4)]])
    strategy.forget("c-2", 2)
    assert "c-2" not in strategy.assignment
    assert len(strategy.clusters[0].memory) == 1  # type: ignore[attr-defined]


def test_numbers_are_not_used_twice_and_files_of_a_killed_run_are_not_read(tmp_path: Path) -> None:
    strategy = started(Mifa(), tmp_path)
    del strategy.clusters[1]
    leftover = tmp_path / "cluster-2" / "updates"
    leftover.mkdir(parents=True)
    (leftover / "vectors.bin").write_bytes(b"of a run that was killed")
    assert strategy.add_cluster(server_round=5) == 2
    assert len(strategy.clusters[2].memory) == 0  # type: ignore[attr-defined]
    copy = started(Mifa(), tmp_path / "other")
    copy.restore(strategy.state())
    assert copy.add_cluster(server_round=6) == 3


@pytest.mark.parametrize(
    "inside",
    [
        "local",
        "flora",
        "fedex-lora",
        "lora-squeeze",
        "fedopt > cellm",
        "fedcac",
        "ccvr",
        "ggeur",
        "ifca",
    ],
)
@pytest.mark.parametrize("outside", ["ifca", "cfl", "adaptive-clusters"])
def test_what_cannot_run_once_a_cluster_is_refused_by_name(outside: str, inside: str) -> None:
    names = (outside, *inside.split(" > "))
    with pytest.raises(ConfigurationError, match=r"(take fedavg|clusters outermost)") as refused:
        registry().compose(names, {})
    assert refused.value.errors


@pytest.mark.parametrize("names", [("fedopt", "ifca"), ("fedper", "cfl"), ("fedstale", "ifca")])
def test_clusters_are_outermost(names: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="put the clusters outermost"):
        registry().compose(names, {})


@pytest.mark.parametrize("kind", ["adapter", "head"])
def test_features_are_the_update_or_its_head(kind: str) -> None:
    start = first_model()
    new = start.replace(start.vector + np.arange(SCHEMA.size))
    features = Features(kind, 0, SCHEMA, 0)
    expected = np.arange(SCHEMA.size, dtype=np.float64)
    if kind == "head":
        expected = expected[SCHEMA.slices["classifier.weight"][0]]
    np.testing.assert_allclose(features.of(new, start), expected, atol=1e-5)


def test_features_of_products_begin_at_zero_and_are_linear_in_the_product() -> None:
    start = first_model()
    features = Features("product", 25, SCHEMA, 0)
    np.testing.assert_array_equal(features.of(start, start), np.zeros(25))
    once, twice = (
        start.overlaid({"a.lora_B.weight": np.full((5, 2), value)}) for value in (1.0, 2.0)
    )
    np.testing.assert_allclose(2 * features.of(once, start), features.of(twice, start), rtol=1e-5)


def test_an_update_of_lower_rank_or_of_a_part_is_compared_with_what_was_sent() -> None:
    from models.lora.factors import with_rank, with_roles
    from models.lora.resize import resized

    start = first_model()
    for kind in ("adapter", "product", "head"):
        features = Features(kind, 0, SCHEMA, 0)
        sent = resized(start, with_rank(SCHEMA, 1, "proportional"))
        np.testing.assert_allclose(features.of(sent, start), 0.0, atol=1e-6)
        part = start.only(with_roles(SCHEMA, ("B", "rest")))
        np.testing.assert_array_equal(features.of(part, start), 0 * features.of(part, start))
        moved = part.replace(part.vector + 1)
        assert np.linalg.norm(features.of(moved, start)) > 0


def test_a_head_must_be_there() -> None:
    from models.errors import BouquetError
    from models.schema import Schema

    schema = Schema(SCHEMA.arrays, {**SCHEMA.facts, "head": ""})
    with pytest.raises(BouquetError, match="no head that is trained"):
        Features("head", 0, schema, 0)


def test_fedavg_alone_has_no_clusters() -> None:
    strategy = FedAvg()
    assert (strategy.assignment, strategy.clustered_models, strategy.drawing()) == ({}, {}, {})
