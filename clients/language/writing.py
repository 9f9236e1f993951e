"""What a model writes after a prompt: the likeliest tokens, or drawn ones from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from clients.data import Examples
from clients.data.texts import USER, Turn, texts_of
from clients.language.preparation import LanguagePreparation
from models.adapted import AdaptedModel
from models.randomness import derive_generator, derive_seed
from models.schema import Vector


@dataclass(frozen=True)
class Prompt:
    """What a model is to continue, and how the data go on there, if they do."""

    text: str
    reference: str = ""


def choose_prompts(
    preparation: LanguagePreparation, test: Examples | None, seed: int
) -> tuple[Prompt, ...]:
    """Return the prompts of ``task-args``, else some of test texts that the seed draws.

    Parameters
    ----------
    preparation : LanguagePreparation
    test : Examples or None
        Without any, and without prompts, a model writes from its first token on.
    seed : int
    """
    options, encoder = preparation.options, preparation.encoder
    if options.prompts:
        return tuple(Prompt(encoder.asked((Turn(USER, text),))) for text in options.prompts)
    if test is None or not len(test):
        return (Prompt(""),) * min(1, options.samples)
    generator = derive_generator(seed, "sample-prompts")
    chosen = generator.permutation(len(test))[: options.samples]
    texts = texts_of(test)
    return tuple(Prompt(*encoder.prompt(texts[row])) for row in sorted(chosen))


@torch.no_grad()
def write_texts(
    model: AdaptedModel,
    vector: Vector,
    preparation: LanguagePreparation,
    prompts: Sequence[Prompt],
    seed: int,
) -> list[str]:
    """Return what adapter numbers write after each prompt.

    Parameters
    ----------
    model : AdaptedModel
    vector : ndarray, shape (model.schema.size,)
    preparation : LanguagePreparation
    prompts : sequence of Prompt
    seed : int
        Of what is drawn, with a temperature above 0.
    """
    options, encoder = preparation.options, preparation.encoder
    tokenizer = encoder.tokenizer
    model.load(vector)
    model.module.eval()
    drawn = {"do_sample": True, "temperature": options.temperature, "top_k": 0, "top_p": 1.0}
    found = []
    for number, prompt in enumerate(prompts):
        ids = tokenizer(prompt.text, add_special_tokens=encoder.adds_special_tokens)["input_ids"]
        # A tokenizer without a first token of its own has nothing to begin from.
        ids = ids[-preparation.max_length :] or [tokenizer.eos_token_id or 0]
        given = torch.tensor([ids], device=model.device)
        torch.manual_seed(derive_seed(seed, "sample", number))
        written = model.module.generate(
            input_ids=given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=options.sample_tokens,
            use_cache=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **(drawn if options.temperature else {"do_sample": False}),
        )
        found.append(tokenizer.decode(written[0, len(ids) :], skip_special_tokens=True))
    return found
