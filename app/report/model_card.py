"""The README of ``adapter/``: what was trained, on what, how well, and how to load it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from app.report.record import safe
from app.report.wording import counted, number, percent

# A local path or one of our own names as `base_model` makes the Hub refuse the whole card.
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+\Z")
_ADAPTER_FOLDER = "adapter"
_SCORES: Mapping[str, str] = {
    "accuracy": "Server test set: accuracy",
    "macro_f1": "Server test set: macro-F1",
    "loss": "Server test set: loss",
    "perplexity": "Server test set: perplexity",
    "client_perplexity_mean": "Clients: mean perplexity",
    "client_accuracy_mean": "Clients: mean accuracy",
    "client_accuracy_median": "Clients: median accuracy",
    "client_accuracy_std": "Clients: standard deviation of accuracy",
    "client_accuracy_worst_decile": "Clients: mean accuracy of the worst decile",
    "client_accuracy_worst": "Clients: accuracy of the worst client",
}

_IMAGE = """import torch
from peft import PeftModel
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

adapter = {adapter}  # this folder
base = {base}
labels = {labels}

model = AutoModelForImageClassification.from_pretrained(
    base, num_labels=len(labels), ignore_mismatched_sizes=True
)
model = PeftModel.from_pretrained(model, adapter).eval()
processor = AutoImageProcessor.from_pretrained(base)

picture = Image.open("picture.png").convert("L" if model.config.num_channels == 1 else "RGB")
inputs = processor(picture, return_tensors="pt")
with torch.inference_mode():
    print(labels[model(**inputs).logits.argmax(-1).item()])
"""
_TEXT = """import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

adapter = {adapter}  # this folder
base = {base}
labels = {labels}

model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(labels))
model = PeftModel.from_pretrained(model, adapter).eval()
tokenizer = AutoTokenizer.from_pretrained(base)

inputs = tokenizer("Your text here.", truncation=True, return_tensors="pt")
with torch.inference_mode():
    print(labels[model(**inputs).logits.argmax(-1).item()])
"""
_TABLE = """import torch
from fedbouquet.table import TableEncoding
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

adapter = {adapter}  # this folder
base = {base}
labels = {labels}

model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(labels))
model = PeftModel.from_pretrained(model, adapter).eval()
encoding = TableEncoding.of(base)

row = dict.fromkeys(encoding.names)  # fill in what is known of each column
tokens = encoding.tokens({{name: [value] for name, value in row.items()}})
inputs = {{"input_ids": torch.from_numpy(tokens)}}
with torch.inference_mode():
    print(labels[model(**inputs).logits.argmax(-1).item()])
"""
_WRITING = """import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

adapter = {adapter}  # this folder
base = {base}

model = AutoModelForCausalLM.from_pretrained(base)
model = PeftModel.from_pretrained(model, adapter).eval()
tokenizer = AutoTokenizer.from_pretrained(base)

inputs = tokenizer("Your text here", return_tensors="pt")
with torch.inference_mode():
    found = model.generate(**inputs, max_new_tokens=64)
print(tokenizer.decode(found[0], skip_special_tokens=True))
"""
_CODE = {"image": _IMAGE, "text": _TEXT, "table": _TABLE, "causal-lm": _WRITING}
_TASKS = {
    "image": "image-classification",
    "text": "text-classification",
    "table": "tabular-classification",
    "causal-lm": "text-generation",
}


def model_card(facts: Mapping[str, object]) -> str:
    """Write the card as Markdown with the front matter that the Hugging Face Hub reads.

    Parameters
    ----------
    facts : mapping of str to object
        ``method``, ``dataset``, ``kind`` (``"image"``, ``"text"`` or ``"table"``), ``model``,
        ``labels`` (names in the order of the model's outputs), ``num_clients``, ``rounds``,
        ``scores`` (numbers
        under their names in ``metrics.jsonl``; None is left out), ``base_path`` (relative to the
        adapter's folder, ``"../base"``, or whatever ``model`` was), ``seed`` and ``groups`` (names
        in order, of an adapter that wants to know a sample's group).
        What is missing is left out.

    Returns
    -------
    str
        Markdown that ends in a newline.
    """
    method, dataset = _text(facts, "method"), _text(facts, "dataset")
    known = _scores(facts)
    rows = [f"| {_cell(label)} | {_value(key, value)} |" for key, label, value in known]
    scores = ["| Score | Value |", "|---|---:|", *rows] if rows else ["No score was recorded."]
    parts = [
        _front_matter(facts, known),
        f"# {_inline(method or 'Federated')} adapter for {_inline(dataset or 'classification')}",
        f"A PEFT adapter, fine-tuned with Bouquet by {_federation(facts)}. The data stayed with "
        "the clients; only adapters travelled.",
        "## Training",
        "\n".join(f"- {name}: {value}" for name, value in _training(facts)),
        "## Scores",
        "\n".join(scores),
        "## Use",
        f"```python\n{_code(facts)}```",
        "Inputs must be prepared as they were in training"
        + (", with the labels in the order above." if _labels(facts) else "."),
        "## Limits",
        "- The scores hold for data like the clients' own; nobody checked any other use.\n"
        "- A mean hides who is served badly: look at the worst clients, and at groups, in "
        "`report.html` of the run before relying on this adapter.\n"
        "- Federated training alone is no guarantee of privacy: without secure aggregation or "
        "differential privacy, an adapter can carry traces of the data it was trained on.",
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(facts: Mapping[str, object], known: list[tuple[str, str, float]]) -> str:
    """Write YAML whose strings are all JSON, which YAML reads alike and nothing breaks out of."""
    model = _text(facts, "model")
    task = _TASKS[_text(facts, "kind") or "text"]
    hub = bool(_HUB_NAME.match(model)) and _text(facts, "base_path") in ("", model)
    tags = ["peft", "federated-learning", "flower", "bouquet"]
    tags += [method] if (method := _text(facts, "method")) else []
    lines = ["---", "library_name: peft"]
    lines += [f"base_model: {json.dumps(model)}"] if hub else []
    lines += [f"pipeline_tag: {task}", "tags:", *(f"- {json.dumps(tag)}" for tag in tags)]
    accuracy = next((value for key, _, value in known if key == "accuracy"), None)
    if accuracy is not None:
        name = json.dumps(_text(facts, "dataset") or "unknown")
        lines += [
            "model-index:",
            f"- name: {json.dumps(_text(facts, 'method') + ' adapter')}",
            "  results:",
            "  - task:",
            f"      type: {task}",
            "    dataset:",
            f"      name: {name}",
            f"      type: {name}",
            "    metrics:",
            "    - type: accuracy",
            f"      value: {accuracy!r}",
        ]
    return "\n".join([*lines, "---"])


def _federation(facts: Mapping[str, object]) -> str:
    clients, rounds = facts.get("num_clients"), facts.get("rounds")
    who = counted(clients, "client") if isinstance(clients, int) else "many clients"
    return f"{who} over {counted(rounds, 'round')}" if isinstance(rounds, int) else who


def _training(facts: Mapping[str, object]) -> list[tuple[str, str]]:
    labels = _labels(facts)
    rows = [
        ("Method", _inline(_text(facts, "method"))),
        ("Data set", _inline(_text(facts, "dataset"))),
        ("Base model", _inline(_text(facts, "model"))),
        ("Clients", _inline(_text(facts, "num_clients"))),
        ("Rounds", _inline(_text(facts, "rounds"))),
        ("Seed", _inline(_text(facts, "seed"))),
        (f"Labels ({len(labels)})", ", ".join(_inline(label) for label in labels)),
    ]
    return [(name, value) for name, value in rows if value]


def _code(facts: Mapping[str, object]) -> str:
    base = _text(facts, "base_path") or _text(facts, "model")
    template = _CODE[_text(facts, "kind") or "text"]
    written = _literal(base)
    first = ""
    if base.startswith("pkg:"):
        package, _, inside = base.removeprefix("pkg:").partition("/")
        first = "from importlib.resources import files\n\n"
        written = f"str(files({_literal(package)}) / {_literal(inside)})"
    elif base.startswith("."):
        written = _literal(f"{_ADAPTER_FOLDER}/{base}")
    labels = json.dumps(_labels(facts), ensure_ascii=False).replace("`", "\\u0060")
    code = first + template.format(adapter=_literal(_ADAPTER_FOLDER), base=written, labels=labels)
    return _with_groups(code, _named(facts, "groups"))


def _with_groups(code: str, groups: Sequence[str]) -> str:
    """Say a sample's group too, where the adapter has groups."""
    if not groups or "model(**inputs)" not in code:
        return code
    names = json.dumps(groups, ensure_ascii=False).replace("`", "\\u0060")
    load = "model = PeftModel.from_pretrained(model, adapter).eval()\n"
    of_sample = f"groups = torch.tensor([{names}.index({_literal(groups[0])})])  # -1 if unknown\n"
    return (
        code.replace(
            "import torch\n", "import torch\nfrom fedbouquet.fairlora import accept_groups\n"
        )
        .replace(load, f"{load}accept_groups(model)\n{of_sample}")
        .replace("model(**inputs)", "model(**inputs, groups=groups)")
    )


def _scores(facts: Mapping[str, object]) -> list[tuple[str, str, float]]:
    given = facts.get("scores")
    table = given if isinstance(given, Mapping) else {}
    order = [*(key for key in _SCORES if key in table), *(k for k in table if k not in _SCORES)]
    return [
        (key, _SCORES.get(key, safe(str(key))), float(table[key]))
        for key in order
        if isinstance(table[key], int | float) and not isinstance(table[key], bool)
    ]


def _value(key: str, value: float) -> str:
    fraction = "accuracy" in key or "f1" in key
    return percent(value, 2) if fraction else number(value, 4)


def _labels(facts: Mapping[str, object]) -> list[str]:
    return _named(facts, "labels")


def _named(facts: Mapping[str, object], key: str) -> list[str]:
    names = facts.get(key)
    if isinstance(names, Sequence) and not isinstance(names, str):
        return [safe(str(name)) for name in names]
    return []


def _text(facts: Mapping[str, object], key: str) -> str:
    value = facts.get(key)
    return "" if value is None else safe(str(value))


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("`", "\\u0060")


def _inline(text: str) -> str:
    """Keep names from files from acting as Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>|#~&!])", r"\\\1", text)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
