from __future__ import annotations

import numpy as np
import pytest
import torch
from lora_cases import adapter, dense_deltas, schema_of
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

from models.adapters import Lora
from models.errors import BouquetError, ModelError
from models.lora.factors import with_rank, with_roles
from models.lora.pairs import Layout
from models.lora.resize import resized
from models.schema import ArraySpec, NamedArrays, Schema


class Zoo(torch.nn.Module):
    def __init__(self) -> None:
        from transformers.pytorch_utils import Conv1D

        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.conv1d = Conv1D(6, 4)
        self.embedding = torch.nn.Embedding(9, 5)
        self.convolution = torch.nn.Conv2d(3, 8, (3, 2))


def zoo() -> tuple[torch.nn.Module, NamedArrays]:
    torch.manual_seed(0)
    targets = ["linear", "conv1d", "embedding", "convolution"]
    config = LoraConfig(r=4, lora_alpha=6, target_modules=targets, init_lora_weights=False)
    with pytest.warns(UserWarning, match="fan_in_fan_out"):
        model = get_peft_model(Zoo(), config)
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    arrays = {key: value.detach().numpy() for key, value in state.items()}
    return model, NamedArrays.of(arrays, {"rank": 4, "alpha": 6.0, "scaling": 1.5})


def test_products_are_the_changes_that_peft_merges() -> None:
    model, arrays = zoo()
    found = dense_deltas(arrays)
    assert len(found) == 4
    for layer, delta in found.items():
        merged = model.get_submodule(layer).get_delta_weight("default").detach().numpy()
        seen = merged.T if layer.endswith(("conv1d", "embedding")) else merged
        np.testing.assert_allclose(delta, seen.reshape(delta.shape), atol=1e-5)


def test_a_square_layer_of_its_own_rank_is_no_riddle() -> None:
    _, arrays = zoo()
    place = next(p for p in Layout.of(arrays.schema).places if p.layer.endswith("linear"))
    assert (place.rank, place.d_in, place.d_out) == (4, 4, 4)
    assert place.a_key.endswith("lora_A.weight")


def test_pairs_are_views_and_the_rest_is_the_rest() -> None:
    arrays = adapter(schema_of(2), 0)
    layout = Layout.of(arrays.schema)
    pairs = layout.pairs(arrays)
    assert [pair.layer for pair in pairs] == ["layers.0.q_proj", "layers.1.v_proj"]
    assert all(np.shares_memory(part, arrays.vector) for pair in pairs for part in (pair.a, pair.b))
    assert list(layout.rest.slices) == ["classifier.weight"]
    assert layout.largest_rank == 2
    assert tuple(with_roles(arrays.schema, "B").slices) == tuple(
        place.b_key for place in layout.places
    )


@pytest.mark.parametrize(
    ("facts", "scale"),
    [
        ({"alpha": 16.0}, 4.0),
        ({"alpha": 16.0, "rslora": True}, 8.0),
        ({"scaling": 3.0}, 3.0),
        ({}, 1.0),
    ],
)
def test_the_scale_comes_from_the_facts(facts: dict[str, float], scale: float) -> None:
    (pair, _) = Layout.of(Schema(schema_of(4).arrays, facts)).places
    assert pair.scale == scale


def test_keys_with_an_adapters_name_are_found_and_biases_of_factors_are_not() -> None:
    keys = {
        "m.q.lora_A.default.weight": (2, 3),
        "m.q.lora_B.default.weight": (3, 2),
        "m.q.lora_B.bias": (3,),
        "m.lora_magnitude_vector": (3,),
        "m.e.lora_embedding_A.default": (2, 9),
        "m.e.lora_embedding_B.default": (4, 2),
    }
    layout = Layout.of(Schema(tuple(ArraySpec(k, s) for k, s in sorted(keys.items()))))
    assert {place.layer for place in layout.places} == {"m.q", "m.e"}
    assert set(layout.rest.slices) == {"m.q.lora_B.bias", "m.lora_magnitude_vector"}


def test_a_factor_alone_and_factors_that_do_not_fit_are_named() -> None:
    alone = Schema((ArraySpec("q.lora_A.weight", (2, 3)),))
    with pytest.raises(ModelError, match=r"'q.lora_A.weight' has no B beside it"):
        Layout.of(alone)
    odd = Schema((ArraySpec("q.lora_A.weight", (2, 3)), ArraySpec("q.lora_B.weight", (3, 3))))
    with pytest.raises(ModelError, match=r"layer 'q' do not fit: A is \(2, 3\), B is \(3, 3\)"):
        Layout.of(odd)


def test_assembling_is_the_inverse_of_reading() -> None:
    arrays = adapter(schema_of(2), 1)
    layout = Layout.of(arrays.schema)
    factors = {pair.layer: (pair.a, pair.b) for pair in layout.pairs(arrays)}
    rest = arrays.only(layout.rest).vector
    np.testing.assert_array_equal(layout.assemble(factors, rest).vector, arrays.vector)
    with pytest.raises(ModelError, match=r"no factors for layer 'layers.0.q_proj'"):
        layout.assemble({}, rest)
    factors["layers.1.v_proj"] = factors["layers.0.q_proj"]
    with pytest.raises(ModelError, match=r"shapes \(2, 4\) and \(5, 2\) for layer 'layers.1"):
        layout.assemble(factors, rest)


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("rule", ["fixed", "proportional"])
def test_another_ranks_schema_is_that_of_the_adapter_made_so(rslora: bool, rule: str) -> None:
    wide = schema_of(8, alpha=16.0, rslora=rslora)
    narrow = with_rank(wide, 2, rule)  # type: ignore[arg-type]
    kept = 16.0 * (0.5 if rslora else 0.25)
    made = schema_of(2, alpha=16.0 if rule == "fixed" else kept, rslora=rslora)
    assert narrow.hash == made.hash
    assert with_rank(narrow, 8, rule).hash == wide.hash  # type: ignore[arg-type]
    same_scale = narrow.facts["scaling"] == wide.facts["scaling"]
    assert same_scale == (rule == "proportional")


def test_rank_alpha_and_the_rule_of_scaling_change_the_schemas_name() -> None:
    kinds = [Lora(), Lora(rank=4), Lora(alpha=8), Lora(rslora=True), Lora(rank=4, alpha=8)]
    assert len({Schema((), kind.facts()).hash for kind in kinds}) == len(kinds)
    assert Lora(rank=4, alpha=8).facts()["scaling"] == Lora(rank=8).facts()["scaling"]


def test_what_has_no_rank_says_so() -> None:
    with pytest.raises(BouquetError, match="rank 0"):
        with_rank(schema_of(2), 0)
    with pytest.raises(BouquetError, match="no factors A and B"):
        with_rank(Schema((ArraySpec("classifier.weight", (3,)),)), 2)


@pytest.mark.parametrize("rule", ["fixed", "proportional"])
def test_truncation_keeps_the_first_components_at_their_size(rule: str) -> None:
    arrays = adapter(schema_of(4), 3)
    small = resized(arrays, with_rank(arrays.schema, 2, rule))  # type: ignore[arg-type]
    for pair, made in zip(
        Layout.of(arrays.schema).pairs(arrays), dense_deltas(small).values(), strict=True
    ):
        first = pair.scale * pair.b[:, :2].astype(np.float64) @ pair.a[:2]
        np.testing.assert_allclose(made, first, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(small["classifier.weight"], arrays["classifier.weight"])


def test_padding_changes_no_product_and_cutting_gives_the_adapter_back() -> None:
    arrays = adapter(schema_of(2), 4)
    wide = resized(arrays, with_rank(arrays.schema, 8))
    for layer, delta in dense_deltas(arrays).items():
        np.testing.assert_allclose(dense_deltas(wide)[layer], delta, rtol=1e-6)
    np.testing.assert_array_equal(resized(wide, arrays.schema).vector, arrays.vector)
    assert resized(arrays, arrays.schema) is arrays


def test_resizing_to_other_layers_is_refused() -> None:
    with pytest.raises(ModelError, match=r"of 5 x 4 does not fit 'layers.0.q_proj' of 5 x 3"):
        resized(adapter(schema_of(2), 0), schema_of(2, ((5, 3), (6, 7))))
    with pytest.raises(ModelError, match=r"'classifier.weight' is float32\(3,\), expected"):
        resized(adapter(schema_of(2), 0), schema_of(2, head=4))
    with pytest.raises(ModelError, match="other arrays"):
        resized(adapter(schema_of(2), 0), schema_of(2, ((5, 4),)))
