"""A method as a person sees it before a run: what it does, what travels, what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from app.registry import Registry
from app.settings.declared import allowed_values
from strategies.base import Wrapper


@dataclass(frozen=True)
class OptionCard:
    """One option of a method.

    Attributes
    ----------
    name : str
        As written in ``strategy-args``, or ``objective-args`` of a method without a server half.
    default : str, int, float, bool or None
    allowed : str
        Type and range in words.
    help : str
    """

    name: str
    default: str | int | float | bool | None
    allowed: str
    help: str


@dataclass(frozen=True)
class MethodCard:
    """One method.

    Attributes
    ----------
    name : str
    about : str
        One line.
    paper : str
    package : str
        Name and version of the package that brings it; empty if it is built in.
    wraps : bool
        Whether it goes around another method.
    travels : str
    needs : tuple of str
        What a federation must have for it.
    options : tuple of OptionCard
    objectives : tuple of str
        Local objectives that it brings.
    """

    name: str
    about: str
    paper: str
    package: str
    wraps: bool
    travels: str
    needs: tuple[str, ...]
    options: tuple[OptionCard, ...]
    objectives: tuple[str, ...] = ()


def describe_methods(registry: Registry) -> list[MethodCard]:
    """Return a card for each method, built in first."""
    return [describe_method(registry, name) for name in registry.methods]


def describe_method(registry: Registry, name: str) -> MethodCard:
    """Return a method's card."""
    method = registry[name]
    half = method.strategy
    package = registry.package(name)
    objectives = [method.objectives[o] for o in method.objectives]
    about = half.about if half is not None else "; ".join(o.about for o in objectives)
    return MethodCard(
        name=name,
        about=about,
        paper=method.paper,
        package=str(package) if package is not None else "",
        wraps=half is not None and half.wraps,
        travels=half.travels if half is not None else "",
        needs=_needs(registry, name),
        options=describe_options([half.Options] if half is not None else objectives),
        objectives=tuple(method.objectives),
    )


def _needs(registry: Registry, name: str) -> tuple[str, ...]:
    half = registry[name].strategy
    if half is None:
        return ()
    inner = half.default_inner if issubclass(half, Wrapper) else None
    layers = [half, *([inner] if inner is not None else [])]
    needs = [] if name in registry.mixing() else ["the same base model everywhere"]
    if any(layer.needs_groups for layer in layers):
        needs.append("groups in the data (group-columns)")
    if any(layer.keeps_state for layer in layers):
        needs.append("state on the client (state-dir)")
    return tuple(needs)


def describe_options(models: Sequence[type[BaseModel]]) -> tuple[OptionCard, ...]:
    """Return the fields of pydantic models as options, in kebab-case."""
    return tuple(
        OptionCard(
            field.alias or name.replace("_", "-"),
            field.default,
            allowed_values(field.annotation, field.metadata),
            field.description or "",
        )
        for model in models
        for name, field in model.model_fields.items()
    )
