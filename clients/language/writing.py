"""What a model writes after a prompt: the likeliest tokens, or drawn ones from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from clients.data import Examples
from clients.data.texts import USER, Turn, texts_of
from clients.language.preparation import LanguagePreparation
from models.adapted import AdaptedModel
from models.randomness import derive_generator, derive_seed
from models.schema import Vector


@dataclass(frozen=True)
class Prompt:
    """What a model is to continue, and how the data go on there, if they do.

    Attributes
    ----------
    text : str
    reference : str
    special : bool
        Whether the tokenizer's own first token comes before it; chat templates write theirs.
    """

    text: str
    reference: str = ""
    special: bool = True


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
    texts = [] if test is None else texts_of(test)
    plain = bool(texts) and isinstance(texts[0], str)
    special = plain or encoder.adds_special_tokens
    if options.prompts:
        asked = (text if plain else encoder.asked((Turn(USER, text),)) for text in options.prompts)
        return tuple(Prompt(text, special=special) for text in asked)
    if not texts:
        return (Prompt(""),) * min(1, options.samples)
    generator = derive_generator(seed, "sample-prompts")
    chosen = generator.permutation(len(texts))[: options.samples]
    return tuple(Prompt(*encoder.prompt(texts[row]), special) for row in sorted(chosen))


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
    ends = _ends(model, tokenizer)
    room = max(1, min(preparation.max_length, preparation.positions - options.sample_tokens))
    found = []
    for number, prompt in enumerate(prompts):
        ids = tokenizer(prompt.text, add_special_tokens=prompt.special)["input_ids"]
        # A tokenizer without a first token of its own has nothing to begin from.
        ids = ids[-room:] or [tokenizer.eos_token_id or 0]
        given = torch.tensor([ids], device=model.device)
        torch.manual_seed(derive_seed(seed, "sample", number))
        written = model.module.generate(
            input_ids=given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=min(options.sample_tokens, preparation.positions - len(ids)),
            use_cache=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=ends,
            **(drawn if options.temperature else {"do_sample": False}),
        )
        found.append(tokenizer.decode(written[0, len(ids) :], skip_special_tokens=True))
    return found


def _ends(model: AdaptedModel, tokenizer: Any) -> list[int] | None:
    """Return the tokens that end a text: the tokenizer's, and those that chats end with."""
    own = getattr(model.module.generation_config, "eos_token_id", None)
    listed = own if isinstance(own, list) else [own]
    found = {token for token in (tokenizer.eos_token_id, *listed) if token is not None}
    return sorted(found) or None
