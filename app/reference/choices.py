"""The page of what settings can name: adapters, partitions, scenarios, each with its options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydantic import BaseModel

from app.plugins.describing import OptionCard, describe_options
from app.reference.markdown import option_table, page, plain
from clients.data.drift import DRIFTS, NO_DRIFT
from clients.data.drift.kinds import SCHEDULE
from clients.data.partitions import PARTITIONS, SHIFT_ARGUMENTS, Argument
from clients.language.options import LanguageOptions
from clients.model_args import MODEL_ARGS
from clients.objectives import OBJECTIVES
from clients.plan import OPTIMIZER_ARGS
from models.adapters import ADAPTERS
from strategies.clock.population import PopulationOptions
from strategies.clock.slowness import SPREADS as SPEEDS
from strategies.participation import PARTICIPATIONS, SPREADS
from strategies.participation.rated import Rated
from strategies.rounds.closing.factory import ALL, CLOSINGS


@dataclass(frozen=True)
class Choice:
    """One thing that a setting can name.

    Attributes
    ----------
    name : str
    about : str
        One line.
    options : tuple of OptionCard
        What the setting's ``-args`` can say of it.
    """

    name: str
    about: str
    options: tuple[OptionCard, ...] = ()


def _of_model(name: str, about: str, *models: type[BaseModel]) -> Choice:
    return Choice(name, about, describe_options(models))


def _of_arguments(name: str, about: str, arguments: Mapping[str, Argument]) -> Choice:
    return Choice(name, about, tuple(_argument(n, a) for n, a in arguments.items()))


def _argument(name: str, argument: Argument) -> OptionCard:
    needed = ", which must be given" if argument.required else ""
    return OptionCard(name, None, f"{argument.allowed}{needed}", argument.help)


def _objectives() -> Iterable[Choice]:
    for name, kind in OBJECTIVES.items():
        yield _of_model(name, kind.about, kind)


def _adapters() -> Iterable[Choice]:
    for name, kind in ADAPTERS.items():
        yield _of_model(name, kind.summary, kind)


def _closings() -> Iterable[Choice]:
    yield Choice(ALL, "all who were asked, or who answered within round-timeout")
    for name, rule in CLOSINGS.items():
        yield _of_model(name, rule.about, rule.Options)


def _participations() -> Iterable[Choice]:
    for name, model in PARTICIPATIONS.items():
        choice = _of_model(name, model.about, model.Options)
        if issubclass(model, Rated):
            spread = OptionCard("spread", "same", f"one of {', '.join(SPREADS)}", "how p differs")
            choice = Choice(name, model.about, (*choice.options, spread))
        yield choice
    for name, rule in SPREADS.items():
        yield _of_model(f"spread={name}", rule.about, rule)


def _populations() -> Iterable[Choice]:
    yield _of_model("every population", "what all have in common", PopulationOptions)
    for name, spread in SPEEDS.items():
        yield _of_model(name, spread.about, spread)


def _partitions() -> Iterable[Choice]:
    for name, kind in PARTITIONS.items():
        yield _of_arguments(name, kind.help, kind.arguments)
    yield _of_arguments("every partition", "concept shifts that go with each", SHIFT_ARGUMENTS)


def _drifts() -> Iterable[Choice]:
    for name, kind in DRIFTS.items():
        yield _of_arguments(name, kind.help, kind.arguments)
    common = _of_arguments(f"every drift but {NO_DRIFT}", "when slots begin", SCHEDULE)
    rounds = OptionCard("at", None, "ascending rounds", "with which slots begin: at=[11, 31]")
    yield Choice(common.name, common.about, (*common.options, rounds))


def _models() -> Iterable[Choice]:
    told = [OptionCard(name, None, "", text) for name, text in MODEL_ARGS.items()]
    mixed = OptionCard("variants", None, "a list of models", "clients take them in turn")
    yield Choice("every model", "how the base is loaded and read", (*told, mixed))


def _optimizers() -> Iterable[Choice]:
    for name, options in OPTIMIZER_ARGS.items():
        told = tuple(OptionCard(o, None, _KINDS[kind], "") for o, kind in options.items())
        yield Choice(name, f"PyTorch's {name}, with its defaults", told)


_KINDS: Mapping[type, str] = {float: "a number, at least 0", bool: "true or false"}


def _tasks() -> Iterable[Choice]:
    yield Choice("classification", "labels")
    yield _of_model("causal-lm", "texts that are continued", LanguageOptions)


CHOICES: Mapping[str, Callable[[], Iterable[Choice]]] = MappingProxyType(
    {
        "participation": _participations,
        "closing": _closings,
        "population": _populations,
        "task": _tasks,
        "partition": _partitions,
        "drift": _drifts,
        "model": _models,
        "adapter": _adapters,
        "objective": _objectives,
        "optimizer": _optimizers,
    }
)
"""What each setting can name, by the setting's key; its options go into ``KEY-args``."""


def choices_page() -> str:
    """Return what settings can name, with the options of each, as a page."""
    parts = [
        "# Choices",
        "What [settings](settings.md) can name. Options are the inside of a TOML inline table: "
        "`partition=dirichlet partition-args='alpha=0.1'`.",
    ]
    for setting, choices in CHOICES.items():
        parts += [f"## {setting}", f"Written in `{setting}`, options in `{setting}-args`."]
        for choice in choices():
            parts += [f"### {setting}: {choice.name}", plain(choice.about)]
            parts.append(option_table(choice.options))
    return page(*parts)
