from __future__ import annotations

import ast
import re

import pytest
from huggingface_hub import ModelCard

from app.report.model_card import model_card

FACTS = {
    "method": "fedavg",
    "dataset": "digits",
    "kind": "image",
    "model": "tiny-vit",
    "labels": ["0", "1", "2"],
    "num_clients": 20,
    "rounds": 10,
    "scores": {"accuracy": 0.90625, "loss": 0.25, "client_accuracy_worst": 0.5, "macro_f1": None},
    "base_path": "../base",
    "seed": 42,
}


def code_of(card: str) -> str:
    found = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert found
    ast.parse(found[1])
    return found[1]


def test_front_matter_is_what_the_hub_reads() -> None:
    data = ModelCard(model_card(FACTS)).data.to_dict()
    assert data["library_name"] == "peft"
    assert data["pipeline_tag"] == "image-classification"
    assert data["tags"] == ["peft", "federated-learning", "flower", "bouquet", "fedavg"]
    assert "base_model" not in data
    (result,) = data["model-index"][0]["results"]
    assert result["dataset"]["name"] == "digits"
    assert result["metrics"] == [{"type": "accuracy", "value": 0.90625}]


def test_a_model_of_the_hub_is_named_as_base() -> None:
    name = "google/vit-base-patch16-224"
    card = model_card(FACTS | {"model": name, "base_path": name})
    assert ModelCard(card).data.to_dict()["base_model"] == name
    assert f'base = "{name}"' in code_of(card)


def test_scores_training_and_image_code() -> None:
    card = model_card(FACTS)
    assert "| Server test set: accuracy | 90.62 % |" in card
    assert "| Server test set: loss | 0.2500 |" in card
    assert "| Clients: accuracy of the worst client | 50.00 % |" in card
    assert "macro-F1" not in card
    assert "20 clients over 10 rounds" in card
    assert "- Labels (3): 0, 1, 2" in card
    code = code_of(card)
    assert 'base = "adapter/../base"' in code
    assert 'labels = ["0", "1", "2"]' in code
    assert "AutoModelForImageClassification" in code
    assert 'convert("L" if model.config.num_channels == 1 else "RGB")' in code


def test_text_code_for_weights_inside_a_package() -> None:
    facts = FACTS | {"kind": "text", "model": "pkg:some_models/mini/l6"}
    code = code_of(model_card(facts | {"base_path": "pkg:some_models/mini/l6"}))
    assert 'base = str(files("some_models") / "mini/l6")' in code
    assert "AutoModelForSequenceClassification" in code
    assert "Image" not in code


@pytest.mark.parametrize("evil", ['x"\n---\n# y', "a: b", "`" * 3, "<script>", "{labels}", "é\x00"])
def test_names_cannot_break_the_card(evil: str) -> None:
    card = model_card(FACTS | {"dataset": evil, "labels": [evil], "method": evil, "model": evil})
    data = ModelCard(card).data.to_dict()
    assert data["library_name"] == "peft"
    assert len(data["tags"]) == 5
    code_of(card)
    body = card.split("---\n", 2)[2]
    assert body.count("```") == 2
    assert "\n# y" not in body
    assert not re.search(r"(?<!\\)<script>", body.split("```")[0])


def test_missing_facts_are_left_out() -> None:
    card = model_card({})
    assert "No score was recorded." in card
    assert "model-index" not in card
    assert "None" not in card
    code_of(card)
