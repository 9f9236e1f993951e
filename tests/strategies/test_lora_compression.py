from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lora_cases import adapter, dense_deltas, schema_of

from models.errors import ClientError, ModelError
from models.lora.factors import with_rank
from models.lora.resize import resized
from models.sparse import decode, encode, encoded_bytes, top_k
from strategies.aggregation.lora.squeeze import annealed_rank, squeezed

VECTORS = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=60).map(np.float32)

# ---- squeeze -------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["left", "symmetric"])
@pytest.mark.parametrize("rule", ["fixed", "proportional"])
def test_squeezing_is_the_best_approximation_of_the_lower_rank(split: str, rule: str) -> None:
    arrays = adapter(schema_of(4, ((12, 9), (10, 11))), 0)
    small = squeezed(arrays, with_rank(arrays.schema, 2, rule), split)  # type: ignore[arg-type]
    cut = resized(arrays, small.schema)
    for layer, delta in dense_deltas(arrays).items():
        values = np.linalg.svd(delta, compute_uv=False)
        left = np.linalg.norm(dense_deltas(small)[layer] - delta)
        assert left == pytest.approx(np.linalg.norm(values[2:]), rel=1e-5)
        assert left < np.linalg.norm(dense_deltas(cut)[layer] - delta)
    np.testing.assert_array_equal(small["classifier.weight"], arrays["classifier.weight"])


def test_the_same_or_a_higher_rank_keeps_every_product() -> None:
    arrays = adapter(schema_of(2), 1)
    for rank in (2, 3):
        made = squeezed(arrays, with_rank(arrays.schema, rank))
        for layer, delta in dense_deltas(arrays).items():
            np.testing.assert_allclose(dense_deltas(made)[layer], delta, rtol=1e-4, atol=1e-5)


def test_squeezing_names_a_layer_that_is_not_there() -> None:
    arrays = adapter(schema_of(4, ((12, 9),)), 0)
    with pytest.raises(ModelError, match=r"no layer 'layers.1.v_proj' to squeeze"):
        squeezed(arrays, schema_of(2, ((12, 9), (10, 11))))


def test_annealing_halves_and_gives_each_rank_the_same_time() -> None:
    assert [annealed_rank(16, 4, i / 9) for i in range(10)] == [16] * 3 + [8] * 3 + [4] * 4
    assert [annealed_rank(16, 3, t) for t in (0, 0.26, 0.51, 0.76, 1)] == [16, 8, 4, 3, 3]
    assert {annealed_rank(8, 8, t) for t in (0, 0.5, 1)} == {8}
    for source, target in ((4, 8), (4, 0)):
        with pytest.raises(ModelError, match=f"cannot be annealed to {target}: use 1 to 4"):
            annealed_rank(source, target, 0)
    with pytest.raises(ModelError, match=r"a share of 1.5"):
        annealed_rank(8, 4, 1.5)


@given(st.integers(1, 200), st.integers(1, 200), st.floats(0, 1), st.floats(0, 1))
def test_ranks_only_fall_and_stay_in_range(one: int, other: int, t: float, u: float) -> None:
    source, target = max(one, other), min(one, other)
    early, late = (annealed_rank(source, target, x) for x in sorted((t, u)))
    assert target <= late <= early <= source
    assert annealed_rank(source, target, 1.0) == target


# ---- top-k ---------------------------------------------------------------------------------


def test_the_largest_magnitudes_are_kept_and_of_equal_ones_the_first() -> None:
    vector = np.float32([1, -3, 2, -2, 2, 0])
    assert np.flatnonzero(top_k(vector, 0.5)).tolist() == [1, 2, 3]
    assert np.flatnonzero(top_k(vector, 4 / 6)).tolist() == [1, 2, 3, 4]
    assert not top_k(vector, 0.1).any()
    assert top_k(vector, 1.0).all()
    assert np.flatnonzero(top_k(np.zeros(10, np.float32), 0.3)).tolist() == [0, 1, 2]
    for density in (-0.1, 1.1, float("nan")):
        with pytest.raises(ModelError, match="within 0 and 1"):
            top_k(vector, density)


def test_decimal_densities_keep_what_they_say() -> None:
    assert all(top_k(np.ones(100, np.float32), k / 100).sum() == k for k in range(101))


@given(VECTORS, st.floats(0, 1))
def test_nothing_left_out_is_larger_than_what_is_kept(vector: np.ndarray, density: float) -> None:
    mask = top_k(vector, density)
    assert abs(int(mask.sum()) - density * len(vector)) < 1
    if mask.any() and not mask.all():
        assert np.abs(vector[mask]).min() >= np.abs(vector[~mask]).max()


@given(VECTORS, st.floats(0, 1))
def test_a_sparse_vector_comes_back_and_its_bytes_are_counted(
    vector: np.ndarray, density: float
) -> None:
    mask = top_k(vector, density)
    data = encode(vector, mask)
    assert len(data) == encoded_bytes(len(vector), int(mask.sum()))
    found, places = decode(data, len(vector))
    np.testing.assert_array_equal(found, np.where(mask, vector, 0))
    np.testing.assert_array_equal(places, mask)


@pytest.mark.parametrize(
    ("size", "kept", "places"),
    [(1000, 50, 2 * 50), (1000, 63, 125), (100_000, 3124, 4 * 3124), (100_000, 3125, 12_500)],
)
def test_places_cost_a_bit_each_or_an_index_a_number(size: int, kept: int, places: int) -> None:
    vector = np.zeros(size, np.float32)
    mask = np.zeros(size, bool)
    mask[:: size // kept][:kept] = True
    mask[: kept - mask.sum()] = True
    assert len(encode(vector, mask)) == 1 + places + 4 * int(mask.sum())


GOOD = encode(np.float32([0, 5, 0, 7, 0, 0, 0, 0, 0]), np.arange(9) % 2 == 1)


@pytest.mark.parametrize(
    ("data", "size", "what"),
    [
        (b"", 9, "unknown form nothing"),
        (b"\x02abc", 9, "unknown form 02"),
        (b"\x00\xff", 9, "not of 9 bits"),
        (b"\x00\x00\xff", 9, "not of 9 bits"),
        (b"\x00\x80\x00", 9, "0 bytes for 1 float32 values"),
        (GOOD[:-1], 9, "bytes for 4 float32"),
        (b"\x01" + np.array([3, 3], "<u2").tobytes() + bytes(8), 9, "do not rise within 9"),
        (b"\x01" + np.array([9], "<u2").tobytes() + bytes(4), 9, "do not rise within 9"),
        (b"\x01" + bytes(5), 9, "do not rise within 9"),
    ],
)
def test_bytes_that_nobody_encoded_are_refused(data: bytes, size: int, what: str) -> None:
    with pytest.raises(ClientError, match=what):
        decode(data, size)
