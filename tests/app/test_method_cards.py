"""What ``bouquet methods`` says of the built-in methods is there and is true."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from app.built_in import BUILT_IN
from app.plugins.describing import describe_methods
from app.registry import Registry
from clients.trainers import TRAINERS, Around, Trainer
from fedbouquet.testing import round_context, started

ROOT = Path(__file__).parents[2]
CARDS = {card.name: card for card in describe_methods(Registry())}
EVERY = pytest.mark.parametrize("name", [method.name for method in BUILT_IN])


@EVERY
def test_a_card_says_everything(name: str) -> None:
    card = CARDS[name]
    assert card.about
    assert card.paper
    assert card.travels
    assert card.package == ""
    assert [option.name for option in card.options if not option.help] == []


@EVERY
def test_a_card_says_what_stays_on_the_client(name: str) -> None:
    """A client half that calls `ClientRound.keep` needs state on the client, and no other does."""
    strategy = started(lambda: Registry().compose((name,), {}))
    told = [strategy.instruct("c-0", round_context(t)).config for t in (1, 2, 9)]
    halves = {config[word] for config in told for word in ("trainer", "around") if word in config}
    kept = any(".keep(" in inspect.getsource(half) for name in halves for half in own(name))
    assert ("state on the client (state-dir)" in CARDS[name].needs) == kept


def own(name: object) -> list[type[Trainer]]:
    bases = TRAINERS[str(name)].__mro__
    return [b for b in bases if issubclass(b, Trainer) and b not in (Around, Trainer)]


def test_cards_say_who_needs_groups_and_who_mixes_models() -> None:
    groups = {n for n, card in CARDS.items() if any("groups" in need for need in card.needs)}
    assert {"fairlora", "local-s"} <= groups
    assert "fedavg" not in groups
    same = {n for n, card in CARDS.items() if "the same base model everywhere" in card.needs}
    assert same == CARDS.keys() - set(Registry().mixing())


def test_the_page_of_methods_has_a_row_for_each() -> None:
    rows = re.findall(r"^\| `([a-z-]+)", (ROOT / "docs/methods.md").read_text(), re.MULTILINE)
    assert CARDS.keys() - set(rows) == set()
