"""The decomposition of local and global disparity: canonical cases, identities, other solvers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.fairness.information import decompose, mutual_information


def table(**cells: int) -> np.ndarray:
    """Counts of two clients, groups and classes; a key is ``cSZY``."""
    counts = np.zeros((2, 2, 2), dtype=np.int64)
    for key, count in cells.items():
        counts[tuple(int(digit) for digit in key[1:])] = count
    return counts


def numbers(counts: np.ndarray) -> list[float]:
    found = decompose(counts)
    assert found is not None
    return [found.global_, found.local, found.unique, found.redundant, found.masked]


def test_unique_disparity() -> None:
    """Everywhere the model says the group, and groups are the same at each client."""
    found = numbers(table(c000=10, c011=10, c100=10, c111=10))
    assert found == pytest.approx([1, 1, 1, 0, 0], abs=1e-6)


def test_redundant_disparity() -> None:
    """One client has one group and says yes, the other has the other and says no."""
    found = numbers(table(c000=20, c111=20))
    assert found == pytest.approx([1, 0, 0, 1, 0], abs=1e-6)


def test_masked_disparity() -> None:
    """One client favours one group, the other the other: together nobody is favoured."""
    found = numbers(table(c000=10, c011=10, c101=10, c110=10))
    assert found == pytest.approx([0, 1, 0, 0, 1], abs=1e-6)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=12, max_size=12).filter(any),
    st.sampled_from([(3, 2, 2), (2, 3, 2), (2, 2, 3)]),
)
def test_parts_add_up_and_none_is_negative(cells: list[int], shape: tuple[int, ...]) -> None:
    global_, local, unique, redundant, masked = numbers(np.array(cells).reshape(shape))
    assert unique + redundant == pytest.approx(global_, abs=1e-12)
    assert unique + masked == pytest.approx(local, abs=1e-12)
    assert min(unique, redundant, masked) >= -1e-12


def test_no_clients_examples() -> None:
    assert decompose(np.zeros((2, 2, 2), dtype=np.int64)) is None


def test_one_client_has_only_unique_disparity() -> None:
    global_, local, unique, redundant, masked = numbers(np.array([[[30, 10], [12, 28]]]))
    assert global_ == pytest.approx(mutual_information(np.array([[30, 10], [12, 28]]) / 80))
    assert [local, unique] == pytest.approx([global_, global_], abs=1e-9)
    assert [redundant, masked] == pytest.approx([0, 0], abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_another_solver_finds_the_same_minimum(seed: int) -> None:
    cvxpy = pytest.importorskip("cvxpy")
    counts = np.random.default_rng(seed).integers(1, 60, (3, 2, 2))
    joint = counts.transpose(1, 0, 2) / counts.sum()
    p = joint.sum(axis=(1, 2))
    q = [cvxpy.Variable((3, 2), nonneg=True) for _ in p]
    marginals = [
        rule
        for z, part in enumerate(q)
        for rule in (
            cvxpy.sum(part, axis=1) == joint[z].sum(axis=1),
            cvxpy.sum(part, axis=0) == joint[z].sum(axis=0),
        )
    ]
    whole = sum(q)
    spread = sum(cvxpy.sum(cvxpy.rel_entr(part, p[z] * whole)) for z, part in enumerate(q))
    problem = cvxpy.Problem(cvxpy.Minimize(spread), marginals)
    problem.solve()
    expected = problem.value / np.log(2) - mutual_information(joint.sum(axis=2))
    assert numbers(counts)[2] == pytest.approx(expected, abs=2e-6)


def test_the_toolbox_for_discrete_information_agrees() -> None:
    """Its optimiser ends a few thousandths of a bit above the minimum."""
    dit = pytest.importorskip("dit")
    counts = np.array([[[40, 5], [8, 30]], [[12, 20], [25, 9]]])
    names = [f"{s}{z}{y}" for s in "01" for z in "01" for y in "01"]
    distribution = dit.Distribution(names, (counts / counts.sum()).ravel().tolist())
    distribution.set_rv_names("SZY")
    found = dit.pid.PID_BROJA(distribution, ["S", "Y"], "Z")
    theirs = [found.get_pi(node) for node in ((("Y",),), (("S",), ("Y",)), (("S", "Y"),))]
    assert numbers(counts)[2:] == pytest.approx(theirs, abs=5e-3)
