"""The embedded language model: a small Llama, pretrained once on public texts.

A byte-level BPE vocabulary of 768 tokens, hidden size 96, 3 layers, 4 heads, MLP 256: about
400,000 weights. Variants have another hidden size or number of layers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.bases.pretraining import kept
from models.bases.variants import TINY_LLAMA
from models.randomness import derive_generator, derive_seed

WIDTH, DEPTH, HEADS = 96, 3, 4
VOCABULARY = 768
WINDOW = 96
_LONGEST = 1024
_RECIPE = 1  # raised whenever the pretraining below changes, so that no old base is reused
_PAD, _BEGIN, _END = "<pad>", "<s>", "</s>"
_CHAT = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)


def train_tokenizer(texts: Sequence[str], vocabulary: int = VOCABULARY) -> Any:
    """Return a byte-level BPE tokenizer learned from texts, with a plain chat template.

    Parameters
    ----------
    texts : sequence of str
    vocabulary : int
        Tokens at most; 259 are the bytes, padding, beginning and end.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    own = Tokenizer(models.BPE())
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[_PAD, _BEGIN, _END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    own.train_from_iterator(texts, trainer)
    begin = own.token_to_id(_BEGIN)
    own.post_processor = processors.TemplateProcessing(
        single=f"{_BEGIN} $A", pair=f"{_BEGIN} $A $B", special_tokens=[(_BEGIN, begin)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=own,
        pad_token=_PAD,
        bos_token=_BEGIN,
        eos_token=_END,
        model_max_length=_LONGEST,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = _CHAT
    return tokenizer


def new_model(tokenizer: Any, seed: int, width: int = WIDTH, depth: int = DEPTH) -> Any:
    """Return a Llama with fresh weights for a tokenizer.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
    seed : int
    width, depth : int
        Hidden size, a multiple of 8, and layers.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(derive_seed(seed, "tiny-llama", "weights"))
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=8 * width // 3,
            num_hidden_layers=depth,
            num_attention_heads=HEADS,
            max_position_embeddings=_LONGEST,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def pretrained(
    texts: Sequence[str],
    seed: int,
    bases: Path,
    *,
    steps: int = 150,
    width: int = 0,
    depth: int = 0,
) -> Path:
    """Return the folder of a tiny Llama pretrained on these texts, training it if it is new.

    Parameters
    ----------
    texts : sequence of str
    seed : int
        Of the weights and of the order of texts.
    bases : Path
        Folder that keeps bases by fingerprint.
    steps : int
        Optimiser steps of 16 windows of 96 tokens, AdamW with a one-cycle learning rate.
    width, depth : int
        Hidden size and layers; 0 = 96 and 3.

    Returns
    -------
    Path
        ``bases/FINGERPRINT`` with configuration, weights, tokenizer and chat template.
    """
    sizes = (width or WIDTH, depth or DEPTH)
    recipe = hashlib.sha256("\x1f".join(texts).encode())
    recipe.update(repr((seed, steps, _RECIPE, torch.__version__, *sizes)).encode())

    def write(folder: Path) -> None:
        tokenizer = train_tokenizer(texts)
        _train(texts, tokenizer, seed, steps, *sizes).save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return kept(TINY_LLAMA, recipe.hexdigest(), bases, write)


def _train(
    texts: Sequence[str], tokenizer: Any, seed: int, steps: int, width: int, depth: int
) -> Any:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    model = new_model(tokenizer, seed, width, depth)
    order = derive_generator(seed, "tiny-llama", "batches")
    ids = tokenizer(list(texts), add_special_tokens=True)["input_ids"]
    stream = np.concatenate([[*row, tokenizer.eos_token_id] for row in ids])
    stream = np.resize(stream, max(len(stream), WINDOW + 2))
    rate = 4e-3
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    model.train()
    for _ in range(steps):
        starts = order.integers(0, len(stream) - WINDOW - 1, size=16)
        rows = torch.from_numpy(stream[starts[:, None] + np.arange(WINDOW + 1)])
        optimiser.zero_grad()
        logits = model(input_ids=rows[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return model.eval()
