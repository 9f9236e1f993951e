"""A method: its two halves under one name, so that they cannot drift apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clients.objectives import Objective
from clients.trainers import Trainer
from strategies.base import Strategy

Scalar = str | int | float | bool


@dataclass(frozen=True)
class Method:
    """A method: its two halves under one name.

    Attributes
    ----------
    name : str
        As written in ``strategy``.
    strategy : type of Strategy or None
        The server half; its ``Options`` are the method's options. None where a package brings
        only something for clients.
    paper : str
        Where it comes from.
    objective : str
        Name of the local objective that belongs to it; empty leaves it to the settings.
    objectives : mapping of str to type of Objective
        Objectives that the method brings along.
    trainers : mapping of str to type of Trainer
        Client halves that the method brings along; its server half names them in each message.
    trainer : str
        The client half that its server half names; one of its own or of those built in.
    preset : mapping of str to scalar
        Settings that ``bouquet run NAME`` takes; only what differs from the defaults.
    """

    name: str
    strategy: type[Strategy] | None
    paper: str
    objective: str = ""
    objectives: Mapping[str, type[Objective]] = field(default_factory=dict)
    trainers: Mapping[str, type[Trainer]] = field(default_factory=dict)
    trainer: str = ""
    preset: Mapping[str, Scalar] = field(default_factory=dict)
