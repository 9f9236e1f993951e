"""A handful of texts that the model writes, before and after training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.report.sections.samples import SAMPLES
from app.run_directory.directory import RunDirectory
from clients.preparation import Preparation
from models.files import write_json
from strategies.base import Strategy

if TYPE_CHECKING:
    from app.server.federation import Federation
    from clients.data import Examples
    from clients.language.preparation import LanguagePreparation
    from clients.language.writing import Prompt


@dataclass(frozen=True)
class Sampling:
    """What the server lets its model continue.

    Attributes
    ----------
    preparation : LanguagePreparation
    prompts : tuple of Prompt
    seed : int
    """

    preparation: LanguagePreparation
    prompts: tuple[Prompt, ...]
    seed: int


def sampling(preparation: Preparation, test: Examples | None, seed: int) -> Sampling | None:
    """Return what is to be continued; None where the task writes no texts."""
    from clients.language.preparation import LanguagePreparation
    from clients.language.writing import choose_prompts

    if not isinstance(preparation, LanguagePreparation):
        return None
    return Sampling(preparation, choose_prompts(preparation, test, seed), seed)


def write_samples(directory: RunDirectory, federation: Federation, strategy: Strategy) -> None:
    """Write ``samples.json``; nothing without a model for all, or without texts.

    Parameters
    ----------
    directory : RunDirectory
    federation : Federation
    strategy : Strategy
        Trained.
    """
    from clients.language.writing import write_texts

    wanted, model = federation.sampling, federation.model
    if model is None or wanted is None or not wanted.prompts or not strategy.serves_all:
        return
    written = []
    for arrays, version in ((federation.initial, 0), (strategy.model, strategy.base_version)):
        if strategy.changes is not None:
            model.base.put_to(directory.uid, version, strategy.changes)
        texts = write_texts(model, arrays.vector, wanted.preparation, wanted.prompts, wanted.seed)
        written.append(texts)
    rows = [
        {
            "prompt": prompt.text,
            "reference": prompt.reference,
            "before": before,
            "after": after,
        }
        for prompt, before, after in zip(wanted.prompts, *written, strict=True)
    ]
    write_json(directory.path / SAMPLES, rows)
