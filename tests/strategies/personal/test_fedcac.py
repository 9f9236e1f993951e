"""FedCAC: masks, overlaps, collaborators and mixtures, by hand and as the official program."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.registry import registry
from clients.trainers.personal.fedcac import critical, critical_mask
from models.errors import ConfigurationError
from models.payloads.masked import masked, packed
from models.schema import NamedArrays, Schema
from strategies.aggregation.personal.overlap import collaborators, overlaps, threshold
from strategies.base import Strategy
from strategies.personal.fedcac import FedCAC
from strategies.rounds.context import RoundContext, Update
from strategies.transport.roster import Client, Node, Roster

SENSITIVITIES = [[0.9, 0.1, 0.5, 0.2], [0.8, 0.7, 0.1, 0.0], [0.1, 0.2, 0.9, 0.8]]
SCHEMA = Schema.of({"a": np.zeros((2, 3), np.float32), "b": np.zeros(5, np.float32)})


def test_three_clients_by_hand() -> None:
    masks = np.array([critical(np.array(c), 0.5) for c in SENSITIVITIES])
    np.testing.assert_array_equal(masks, [[1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 1, 1]])
    found = overlaps(packed(masks))
    np.testing.assert_array_equal(found, [[1, 0.5, 0.5], [0.5, 1, 0], [0.5, 0, 1]])
    everybody = np.ones(3, bool)
    least = threshold(found, everybody, 1, 100)
    assert least == pytest.approx(0.335, abs=1e-12)
    chosen = collaborators(found, everybody, least)
    np.testing.assert_array_equal(chosen, [[1, 1, 1], [1, 1, 0], [1, 0, 1]])


@pytest.mark.parametrize(
    ("sensitivity", "tau", "mask"),
    [
        ([0.5, 0.2, 0.5, 0.5, 0.1], 0.4, [1, 0, 1, 1, 0]),  # equal to the threshold
        ([0.0, 3.0, 0.0, 0.0], 0.5, [0, 1, 0, 0]),  # threshold 0: the least above 1e-20
        ([1e-12, 2e-11, 5e-30, 0.0], 0.5, [1, 1, 0, 0]),
        ([1e-21, 0.0, 0.0, 0.0], 0.25, [1, 0, 0, 0]),  # nothing above 1e-20: as it is
        ([0.0, 0.0, 0.0], 0.5, [1, 1, 1]),  # did not change at all
        ([3.0], 0.5, [0]),  # floor(tau n) = 0
        ([3.0, 1.0], 0.0, [0, 0]),
        ([3.0, 0.0], 1.0, [1, 0]),
    ],
)
def test_critical_numbers_at_the_edges(
    sensitivity: list[float], tau: float, mask: list[int]
) -> None:
    np.testing.assert_array_equal(critical(np.array(sensitivity, np.float32), tau), mask)


def test_masks_go_by_array_not_over_all() -> None:
    old = NamedArrays(SCHEMA, np.zeros(11, np.float32))
    new = NamedArrays(SCHEMA, np.array([1, 2, 3, 4, 5, 6, 0.1, 0.5, 0.2, 0.3, 0.4], np.float32))
    np.testing.assert_array_equal(critical_mask(old, new, 0.5), [0, 0, 0, 1, 1, 1, 0, 1, 0, 0, 1])
    # |dw w|: a number that moved counts by its size, one that stayed does not.
    np.testing.assert_array_equal(critical_mask(new, new, 0.5), np.ones(11))


def test_overlap_is_not_symmetric_and_an_empty_mask_has_none() -> None:
    masks = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], bool)
    found = overlaps(packed(masks))
    np.testing.assert_array_equal(found, [[1, 0.75, 0.5], [0.5, 1, 0.5], [0, 0, 0]])


def test_the_threshold_rises_until_everybody_is_alone() -> None:
    found = overlaps(packed(np.array([[1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 1, 1]], bool)))
    everybody = np.ones(3, bool)
    sizes = []
    for passed in (1, 4, 5, 6):
        chosen = collaborators(found, everybody, threshold(found, everybody, passed, 5))
        sizes.append(chosen.sum(1).tolist())
    # At beta the threshold is the largest overlap, which still collaborates; beyond nobody does.
    assert sizes == [[3, 2, 2], [3, 2, 2], [3, 2, 2], [1, 1, 1]]
    alone = np.array([True, False, False])
    np.testing.assert_array_equal(
        collaborators(found, alone, threshold(found, alone, 1, 5)),
        [[1, 0, 0], [1, 1, 0], [1, 0, 1]],
    )
    # Two clients, or clients all alike, have one overlap, which is its own threshold.
    alike = np.full((7, 7), 0.1)
    for passed in (1, 5):
        assert collaborators(
            alike, np.ones(7, bool), threshold(alike, np.ones(7, bool), passed, 5)
        ).all()
    assert threshold(found[:1, :1], np.ones(1, bool), 1, 5) == np.inf


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 40))
def test_overlaps_are_those_of_the_formula(seed: int, clients: int, size: int) -> None:
    masks = np.random.default_rng(seed).random((clients, size)) < 0.4
    found = overlaps(packed(masks))
    for i, j in np.ndindex(clients, clients):
        own = masks[i].sum()
        expected = 1 - (masks[i] ^ masks[j]).sum() / (2 * own) if own else 0
        assert found[i, j] == pytest.approx(expected, abs=1e-12)


def test_a_thousand_clients_overlap_in_seconds() -> None:
    bits = np.random.default_rng(0).integers(0, 256, (1000, 2000), np.uint8)
    began = time.process_time()
    found = overlaps(bits)
    assert time.process_time() - began < 20
    assert found.shape == (1000, 1000)


# ---- the wrapper ---------------------------------------------------------------------------


def context(server_round: int) -> RoundContext:
    roster = Roster()
    roster.join(Node(0, "n"), [Client(f"c{i}", 0, 10 * (i + 1)) for i in range(3)])
    return RoundContext(server_round, 9, roster)


def trained(strategy: Strategy, client: int, where: RoundContext, numbers: np.ndarray) -> Update:
    """What the client half returns."""
    told = strategy.instruct(f"c{client}", where)
    new = told.arrays.replace(numbers.astype(np.float32))
    mask = critical_mask(told.arrays, new, float(told.config["around.tau"]))
    arrays = masked(new, mask)
    assert told.reply == arrays.schema
    return Update(f"c{client}", arrays, 10 * (client + 1))


def play(
    strategy: Strategy,
    server_round: int,
    rng: np.random.Generator,
    who: tuple[int, ...] = (0, 1, 2),
) -> None:
    where = context(server_round)
    numbers = [np.concatenate([rng.normal(size=6), rng.normal(size=5)]).round(2) for _ in range(3)]
    part = strategy.begin(where)
    for update in [trained(strategy, i, where, numbers[i]) for i in who]:
        part.add(update)
    strategy.conclude(part, where)


def started(rng: np.random.Generator, **options: object) -> FedCAC:
    strategy = FedCAC(**options)
    first = np.concatenate([rng.normal(size=6), rng.normal(size=5)]).round(2)
    strategy.initialise(NamedArrays(SCHEMA, first.astype(np.float32)))
    return strategy


def test_three_rounds_as_the_official_program() -> None:
    """Thresholds, collaborators and mixtures of the official program on the same numbers."""
    rng = np.random.default_rng(2024)
    strategy = started(rng, tau=0.4, beta=4)
    thresholds = []
    together = []
    for server_round in (1, 2, 3):
        play(strategy, server_round, rng)
        figures = strategy.figures()
        thresholds.append(figures["threshold"])
        together.append(figures["collaborators"])
    np.testing.assert_allclose(thresholds, [0.3125, 0.6666666, 0.4375], rtol=1e-6)
    np.testing.assert_allclose(together, [5 / 3, 5 / 3, 5 / 3])
    expected = [
        [0.226667, -0.73, 0.305, -1.536667, 0.37, 0.01, -0.663333, 0.955, -0.62, 0.65, -0.205],
        [0.89, -0.563333, 0.305, -0.73, 0.113333, 0.01, -1.33, 0.955, -0.89, 2.25, 0.108333],
        [0.226667, -0.73, 0.305, -1.38, 0.113333, 0.01, -0.663333, 1.235, -0.62, 0.65, 0.108333],
    ]
    found = [strategy.model_for(f"c{i}").vector for i in range(3)]
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_who_never_took_part_uses_w_and_who_is_absent_keeps_model_and_mask() -> None:
    rng = np.random.default_rng(1)
    strategy = started(rng, tau=0.5, beta=1)
    play(strategy, 1, rng, who=(0, 1))
    np.testing.assert_array_equal(strategy.model_for("c2").vector, strategy.arrays.vector)
    mask, model = strategy.memory.mask("c0"), strategy.memory.model("c0")
    play(strategy, 2, rng, who=(1, 2))  # beyond beta: critical numbers are one's own
    expected = np.where(mask, model, strategy.arrays.vector)
    np.testing.assert_array_equal(strategy.model_for("c0").vector, expected)


def test_who_is_absent_is_a_candidate_or_not() -> None:
    groups = {}
    for candidates in ("all", "present"):
        rng = np.random.default_rng(2)
        strategy = started(rng, beta=100, candidates=candidates)
        play(strategy, 1, rng)
        play(strategy, 2, rng, who=(1, 2))
        groups[candidates] = strategy._together
    assert any("c0" in groups["all"][c] for c in ("c1", "c2"))
    assert not any("c0" in groups["present"][c] for c in ("c1", "c2"))
    assert "c0" in groups["present"]["c0"]


@pytest.mark.parametrize("candidates", ["all", "present"])
def test_a_client_that_left_is_nobodys_collaborator(candidates: str, tmp_path: Path) -> None:
    strategies = []
    for name in ("whole", "restored"):
        rng = np.random.default_rng(2)
        strategy = FedCAC(candidates=candidates)
        strategy.keep_in(tmp_path / name)
        strategy.initialise(NamedArrays(SCHEMA, rng.normal(size=11).astype(np.float32)))
        play(strategy, 1, rng)
        strategy.forget("c0", 4)
        if name == "restored":
            state, arrays = strategy.state(), strategy.arrays
            strategy = FedCAC(candidates=candidates)
            strategy.keep_in(tmp_path / name)
            strategy.initialise(arrays)
            strategy.restore(state)
        strategies.append(strategy)
        assert "c0" not in strategy.memory
        assert all("c0" not in group for group in strategy._together.values())
        np.testing.assert_array_equal(strategy.model_for("c0").vector, strategy.arrays.vector)
    for client in ("c1", "c2"):
        whole, restored = (s.model_for(client).vector for s in strategies)
        np.testing.assert_array_equal(whole, restored)


def test_a_failed_attempt_leaves_no_trace() -> None:
    rng = np.random.default_rng(3)
    strategy = started(rng)
    play(strategy, 1, rng)
    before = [strategy.model_for(f"c{i}").vector for i in range(3)]
    part = strategy.begin(context(2))
    part.add(trained(strategy, 0, context(2), rng.normal(size=11)))
    after = [strategy.model_for(f"c{i}").vector for i in range(3)]
    np.testing.assert_array_equal(before, after)
    play(strategy, 2, rng, who=(1,))
    assert set(strategy.memory.masks) == {"c0", "c1", "c2"}
    np.testing.assert_array_equal(list(strategy.memory.present(2)), ["c1"])


@pytest.mark.parametrize("inner", ["flora", "rolora", "cellm", "fedcac", "flexlora"])
def test_what_is_no_weighted_mean_is_refused(inner: str) -> None:
    with pytest.raises(ConfigurationError, match="no weighted mean"):
        registry().compose(("fedcac", inner), {})


def test_ditto_refuses_a_base_that_changes() -> None:
    for inside in (("flora",), ("fedopt", "fedex-lora")):
        with pytest.raises(ConfigurationError, match="changes the base"):
            registry().compose(("ditto", *inside), {})
