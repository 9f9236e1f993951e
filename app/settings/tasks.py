"""What goes with which task: texts to be continued have no labels, and nothing may want any."""

from __future__ import annotations

from collections.abc import Mapping

from app.settings.catalogue import MethodCatalogue
from app.settings.settings import Settings
from clients.data.drift import NO_DRIFT
from clients.data.partitions import PARTITIONS
from clients.language.options import LanguageOptions
from models.adapters import Head, option_errors
from models.bases.variants import TINY_LLAMA, TINY_VIT, Variant
from models.errors import ModelError

Finding = tuple[tuple[str, ...], str]
_COLUMNS = ("prompt-column", "response-column", "messages-column")


def task_findings(settings: Settings, catalogue: MethodCatalogue) -> list[Finding]:
    """Return what does not go with the task; see `find_contradictions`."""
    if settings.task == "causal-lm":
        return _of_texts(settings, catalogue)
    findings: list[Finding] = [
        ((column, "task"), "only texts that are continued have it: set task='causal-lm'")
        for column in _COLUMNS
        if getattr(settings, column.replace("-", "_"))
    ]
    if settings.task_args:
        line = "the task 'classification' has no options; set task='causal-lm'"
        findings.append((("task-args", "task"), line))
    if any(_embedded(model) == TINY_LLAMA for model in (settings.model, *settings.variants)):
        line = f"{TINY_LLAMA} writes texts and classifies nothing: set task='causal-lm'"
        findings.append((("model", "task"), line))
    return findings


def _of_texts(settings: Settings, catalogue: MethodCatalogue) -> list[Finding]:
    findings: list[Finding] = [
        (("task-args", "task"), line) for line in option_errors(LanguageOptions, settings.task_args)
    ]
    findings += [
        ((key, "task"), f"the task 'causal-lm' has no labels, and {why}")
        for key, why in _wants_labels(settings, catalogue).items()
    ]
    if any(_embedded(model) == TINY_VIT for model in (settings.model, *settings.variants)):
        line = (
            f"{TINY_VIT} takes images; for task='causal-lm' set model='{TINY_LLAMA}', an absolute "
            "folder or a Hugging Face name"
        )
        findings.append((("model", "task"), line))
    if settings.image_column:
        line = "the task 'causal-lm' reads texts; set text-column, or prompt and response columns"
        findings.append((("image-column", "task"), line))
    given = [
        name
        for name, value in (
            ("text-column", settings.text_column),
            ("prompt-column", settings.prompt_column or settings.response_column),
            ("messages-column", settings.messages_column),
        )
        if value
    ]
    if len(given) > 1:
        line = f"{given[0]} is given too; texts, prompts with responses, and chats exclude another"
        findings.append(((given[1], *given, "task"), line))
    if bool(settings.prompt_column) != bool(settings.response_column):
        missing = "response-column" if settings.prompt_column else "prompt-column"
        line = f"a prompt goes with its response: set {missing} too"
        findings.append((("prompt-column", "response-column"), line))
    return findings


def _wants_labels(settings: Settings, catalogue: MethodCatalogue) -> Mapping[str, str]:
    """Return by setting what of it needs labels."""
    found: dict[str, str] = {}
    known, named = set(catalogue.method_names()), set(settings.methods)
    wanting = [n for n in settings.methods if n in known and catalogue.method_needs_labels(n)]
    if wanting:
        found["strategy"] = f"'{wanting[0]}' works on classes"
    own = settings.objective or (catalogue.objective_of(settings.methods) if known >= named else "")
    if own in catalogue.objective_names() and catalogue.objective_needs_labels(own):
        found["objective"] = f"'{own}' compares classes; set objective='cross-entropy'"
    if settings.partition in PARTITIONS and PARTITIONS[settings.partition].by_label:
        others = ", ".join(name for name, kind in PARTITIONS.items() if not kind.by_label)
        found["partition"] = f"'{settings.partition}' divides by them; take one of {others}"
    if "shift" in settings.partition_args:
        found["partition-args"] = "shift turns images or changes labels; leave it out"
    if settings.drift != NO_DRIFT:
        found["drift"] = f"'{settings.drift}' turns images or changes labels; leave it out"
    if settings.adapter == "head":
        found["adapter"] = f"so no head: '{Head.summary}' would train nothing; take lora"
    if settings.label_column:
        found["label-column"] = "reads none; name it in group-columns to compare groups by it"
    if settings.labels:
        found["labels"] = "reads none; leave it out"
    if settings.model_args.get("feature-dim"):
        found["model-args"] = "feature-dim stands before their head; leave it out"
    return found


def _embedded(model: str) -> str:
    try:
        return Variant.parse(model).model
    except ModelError:
        return ""  # said of the setting itself
