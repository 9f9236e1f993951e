"""Modules of packages that bring no method that can be used, and what is said of each."""

from __future__ import annotations

START = """
from typing import Annotated

from pydantic import Field

from fedbouquet import (
    CrossEntropy,
    FedAvg,
    FedAvgOptions,
    FedProx,
    Method,
    Options,
    Trainer,
    Wrapper,
)

"""
BROKEN = {
    "absent-import": ("import no_such_module", "No module named 'no_such_module'"),
    "does-not-parse": ("def METHOD(:", "it does not load: SyntaxError: invalid syntax"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "no-attribute": ("OTHER = 1", "has no attribute 'METHOD'"),
    "not-a-method": (START + "METHOD = FedAvg", "gives the class FedAvg, not a Method"),
    "bad-name": (START + "METHOD = Method('My Method', FedAvg, '')", "'My Method' is not of"),
    "taken": (START + "METHOD = Method('fedavg', FedAvg, '')", "'fedavg' is taken by a built-in"),
    "taken-objective": (
        START + "METHOD = Method('a', FedAvg, '', objectives={'fedprox': FedProx})",
        "objective 'fedprox' is taken by a built-in objective",
    ),
    "taken-trainer": (
        START + "METHOD = Method('a', FedAvg, '', trainers={'plain': Trainer})",
        "trainer 'plain' is taken by a built-in trainer",
    ),
    "function-half": (
        START + "METHOD = Method('a', lambda: None, '')",
        "its server half is a function, not a subclass of Strategy",
    ),
    "client-half-first": (
        START + "METHOD = Method('a', Trainer, '')",
        "its server half is the class Trainer, not a subclass of Strategy",
    ),
    "instance": (
        START + "METHOD = Method('a', None, '', objectives={'b': CrossEntropy()})",
        "objectives: 'b' is a CrossEntropy, not a subclass of Objective",
    ),
    "no-half": (START + "METHOD = Method('a', None, '')", "has no half"),
    "missing-objective": (
        START + "METHOD = Method('a', FedAvg, '', objective='b')",
        "its client half is missing: it names the objective 'b'",
    ),
    "missing-trainer": (
        START + "METHOD = Method('a', FedAvg, '', trainer='b')",
        "its client half is missing: it names the trainer 'b'",
    ),
    "no-default": (
        START
        + "class A(FedAvg):\n    class Options(FedAvgOptions):\n        rate: float\n"
        + "METHOD = Method('a', A, '')",
        "option 'rate' of A has no default",
    ),
    "other-options": (
        START
        + "class A(FedAvg):\n    class Options(Options):\n        rate: float = 1.0\n"
        + "METHOD = Method('a', A, '')",
        "A.Options must be a subclass of FedAvgOptions, the options of FedAvg",
    ),
    "default-out-of-range": (
        START
        + "class A(FedAvg):\n    class Options(FedAvgOptions):\n"
        + "        mu: Annotated[float, Field(ge=0)] = -1.0\n"
        + "METHOD = Method('a', A, '')",
        "a default of A is not what it allows: mu = -1.0: Input should be greater than",
    ),
    "default-of-another-type": (
        START
        + "class A(Trainer):\n    rate: float = 'fast'\n"
        + "METHOD = Method('a', FedAvg, '', trainers={'b': A})",
        "a default of A is not what it allows: rate = 'fast'",
    ),
    "default-made": (
        START
        + "class A(FedAvg):\n    class Options(FedAvgOptions):\n"
        + "        layers: list[int] = Field(default_factory=list)\n"
        + "METHOD = Method('a', A, '')",
        "the default of option 'layers' of A is a list, not a text, number or true/false",
    ),
    "no-words": (
        START + "class A(FedAvg):\n    about = None\nMETHOD = Method('a', A, '')",
        "A.about is a NoneType, not a text of the class",
    ),
    "asks-for-more": (
        START
        + "class A(FedAvg):\n    def __init__(self, rate):\n        super().__init__()\n"
        + "METHOD = Method('a', A, '')",
        "A.__init__ must take **options and hand them on: missing a required argument: 'rate'",
    ),
    "wraps-nothing": (
        START
        + "class A(Wrapper):\n    def __init__(self, **options):\n        super().__init__()\n"
        + "METHOD = Method('a', A, '')",
        "A.__init__ must take inner, **options and hand them on: too many positional arguments",
    ),
    "wraps-a-name": (
        START + "class A(Wrapper):\n    default_inner = 'fedavg'\nMETHOD = Method('a', A, '')",
        "A.default_inner is a str, not a subclass of Strategy",
    ),
    "bad-half-name": (
        START + "METHOD = Method('a', FedAvg, '', trainers={1: Trainer})",
        "trainers: 1 is not of lower-case letters",
    ),
    "strange-preset": (
        START + "METHOD = Method('a', FedAvg, '', preset={'seed': [1]})",
        "preset: 'seed' is a list",
    ),
}
