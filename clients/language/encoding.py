"""From texts to token numbers, and which of them are to be learned.

Of a chat, and of a prompt with its response, only what the assistant says is learned, its end
included, unless ``loss-on='all'``. Where that is, is told by the tokenizer's chat template: by its
generation marks, else by what the template makes of the chat up to each turn. Where it writes
earlier turns anew, as those that drop old thoughts do, by what it makes of another response there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clients.data.texts import ASSISTANT, Text, Turn
from clients.language.options import PROMPT, LanguageOptions
from models.errors import DataError, ModelError

_PLAIN_PROMPT = f"{PROMPT}\n"
_STAND_IN = "\ue000another response\ue001"
_GENERATION_MARK = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")


@dataclass(frozen=True)
class Tokens:
    """One text.

    Attributes
    ----------
    ids : ndarray of int64, shape (length,)
    learned : ndarray of bool, shape (length,)
        Whether a token is to be predicted from those before it; of the first it says nothing.
    """

    ids: npt.NDArray[np.int64]
    learned: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def targets(self) -> int:
        """How many tokens are predicted."""
        return int(self.learned[1:].sum())


@dataclass(frozen=True)
class Rendered:
    """A text as it is tokenised, and the characters [start, end) that are learned."""

    text: str
    spans: tuple[tuple[int, int], ...]


class TextEncoder:
    """Texts as a checkpoint's tokenizer sees them.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
    options : LanguageOptions
    """

    def __init__(self, tokenizer: Any, options: LanguageOptions) -> None:
        self.tokenizer = tokenizer
        self._options = options
        self._by_template = bool(tokenizer.chat_template) and not options.prompt_template

    def encode(self, texts: Sequence[Text], owner: str) -> list[Tokens]:
        """Return the tokens of texts that are all plain or all chats.

        Parameters
        ----------
        texts : sequence
        owner : str
            Whose they are, for messages.

        Raises
        ------
        DataError
            The chat template does not take a chat, or does not tell the responses apart.
        ModelError
            There is no chat template, or the tokenizer does not say where its tokens lie.
        """
        if not texts:
            return []
        if isinstance(texts[0], str):
            return self._tokenised([Rendered(str(t), ((0, len(t)),)) for t in texts], True)
        chats = [text for text in texts if not isinstance(text, str)]
        if not self._by_template:
            return self._tokenised([self._as_pair(chat) for chat in chats], True)
        if _GENERATION_MARK.search(str(self.tokenizer.chat_template)):
            self._require_offsets()
            return [self._by_marks(chat, owner) for chat in chats]
        return self._tokenised([self._by_prefixes(chat, owner) for chat in chats], False)

    def prompt(self, text: Text) -> tuple[str, str]:
        """Return what a model is to continue, and what follows there.

        Of a chat that is all before its last response; of a plain text its first third.
        """
        if isinstance(text, str):
            words = text.split(" ")
            first = " ".join(words[: max(1, len(words) // 3)])
            return first, text[len(first) :]
        last = max(i for i, turn in enumerate(text) if turn.role == ASSISTANT)
        return self.asked(text[:last]), text[last].content

    def asked(self, turns: Sequence[Turn]) -> str:
        """Return a chat as it stands before the next response."""
        if self._by_template:
            return self._rendered(turns, True)
        return self._before_response(turns)

    @property
    def adds_special_tokens(self) -> bool:
        """Whether a prompt gets the tokenizer's own first token; chat templates write theirs."""
        return not self._by_template

    # ---- rendering -----------------------------------------------------------------------

    def _as_pair(self, chat: Sequence[Turn]) -> Rendered:
        if len(chat) != 2 or chat[1].role != ASSISTANT:
            own = self._options.prompt_template
            raise ModelError(
                "prompt-template in task-args is for one prompt and its response, and these chats "
                "are longer: leave it out, and the model's chat template writes them"
                if own
                else "the model's tokenizer has no chat template, and chats need one: take a model "
                "with one (an 'instruct' or 'chat' model), or columns of prompts and responses"
            )
        before = self._before_response(chat[:1])
        text = before + chat[1].content
        return Rendered(text, ((0 if self._all else len(before), len(text)),))

    def _before_response(self, turns: Sequence[Turn]) -> str:
        template = self._options.prompt_template or _PLAIN_PROMPT
        return template.replace(PROMPT, "\n".join(turn.content for turn in turns))

    def _by_prefixes(self, chat: Sequence[Turn], owner: str) -> Rendered:
        text = self._rendered(chat, False, owner)
        if self._all:
            return Rendered(text, ((0, len(text)),))
        spans = []
        for place, turn in enumerate(chat):
            if turn.role == ASSISTANT:
                grown = self._as_it_grew(chat, place, text, owner)
                spans.append(grown or self._between(chat, place, text, owner))
        return Rendered(text, tuple(spans))

    def _as_it_grew(
        self, chat: Sequence[Turn], place: int, text: str, owner: str
    ) -> tuple[int, int] | None:
        """Return where a response stands, if the chat up to it is written as in the whole chat."""
        if not place:
            return None
        before = self._rendered(chat[:place], True, owner)
        through = self._rendered(chat[: place + 1], False, owner)
        grew = text.startswith(through) and through.startswith(before)
        return (len(before), len(through)) if grew else None

    def _between(self, chat: Sequence[Turn], place: int, text: str, owner: str) -> tuple[int, int]:
        """Return where a response stands: between what is written around another one there."""
        other = [*chat[:place], Turn(ASSISTANT, _STAND_IN), *chat[place + 1 :]]
        head, found, tail = self._rendered(other, False, owner).partition(_STAND_IN)
        if not (found and text.startswith(head) and text[len(head) :].endswith(tail)):
            raise DataError(
                f"{owner}: the tokenizer's chat template writes a chat in such a way that its "
                "responses cannot be told apart; set loss-on='all' in task-args, or give the "
                "template generation marks"
            )
        ends = sorted(self.tokenizer.get_added_vocab(), key=len, reverse=True)
        end = next((token for token in ends if tail.startswith(token)), "")
        return len(head), len(text) - len(tail) + len(end)

    def _rendered(self, chat: Sequence[Turn], ask: bool, owner: str = "the prompt") -> str:
        from jinja2 import TemplateError

        turns = [{"role": turn.role, "content": turn.content} for turn in chat]
        try:
            found = self.tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=ask
            )
        # What else a template trips over, such as a sum of text and nothing.
        except (TemplateError, TypeError, ValueError) as error:
            raise DataError(
                f"{owner}: the tokenizer's chat template refuses a chat of the roles "
                f"{', '.join(turn.role for turn in chat)}: {error}"
            ) from error
        return str(found)

    # ---- tokens --------------------------------------------------------------------------

    @property
    def _all(self) -> bool:
        return self._options.loss_on == "all"

    def _by_marks(self, chat: Sequence[Turn], owner: str) -> Tokens:
        self._rendered(chat, False, owner)
        found = self.tokenizer.apply_chat_template(
            [{"role": turn.role, "content": turn.content} for turn in chat],
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        ids = np.asarray(found["input_ids"], np.int64)
        return Tokens(ids, np.asarray(found["assistant_masks"], bool) | self._all)

    def _require_offsets(self) -> None:
        if not self.tokenizer.is_fast:
            raise ModelError(
                f"{type(self.tokenizer).__name__} does not say where its tokens lie in a text; "
                "save the checkpoint with a fast tokenizer (tokenizer.json)"
            )

    def _tokenised(self, rendered: Sequence[Rendered], special: bool) -> list[Tokens]:
        """Tokenise; with `special` the tokenizer's own first token and an end are added."""
        self._require_offsets()
        found = self.tokenizer(
            [one.text for one in rendered],
            add_special_tokens=special,
            return_offsets_mapping=True,
            return_attention_mask=False,
        )
        end = self.tokenizer.eos_token_id if special else None
        tokens = []
        for one, ids, offsets in zip(
            rendered, found["input_ids"], found["offset_mapping"], strict=True
        ):
            places = np.asarray(offsets, np.int64).reshape(-1, 2)
            learned = np.zeros(len(ids), bool)
            for start, stop in one.spans:
                # A special token that the tokenizer adds lies nowhere: (0, 0).
                learned |= (places[:, 1] > start) & (places[:, 0] < stop)
            if end is not None and (not ids or ids[-1] != end):
                ids, learned = [*ids, end], np.append(learned, True)
            tokens.append(Tokens(np.asarray(ids, np.int64), learned))
        return tokens
