"""Participation models by name, and the check of their options."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from pydantic import BaseModel, Field, create_model

from models.adapters import option_errors
from models.errors import ConfigurationError, nearest
from strategies.participation.always import Always
from strategies.participation.base import Model
from strategies.participation.bernoulli import Bernoulli
from strategies.participation.cyclic import Cyclic
from strategies.participation.events import Events
from strategies.participation.markov import Markov
from strategies.participation.rated import Rated
from strategies.participation.spreads import SPREADS
from strategies.participation.trace import Trace

PARTICIPATIONS: Mapping[str, type[Model]] = MappingProxyType(
    {
        "always": Always,
        "bernoulli": Bernoulli,
        "markov": Markov,
        "cyclic": Cyclic,
        "trace": Trace,
        "events": Events,
    }
)
"""Every model by its name in ``participation``."""

BY_SECOND = frozenset(name for name, model in PARTICIPATIONS.items() if model.tick)
"""Those whose time is seconds: they make sense on a virtual clock only."""

_SPREAD = "spread"
_DEFAULT_SPREAD = "same"


def participation_names() -> Collection[str]:
    """Names usable in ``participation``."""
    return PARTICIPATIONS.keys()


def participation_option_errors(name: str, options: Mapping[str, object]) -> list[str]:
    """Check the options of a model, and of the spread they name, without reading any file.

    Parameters
    ----------
    name : str
        One of `participation_names`.
    options : mapping of str to object
        By kebab-case name, as in ``participation-args``.

    Returns
    -------
    list of str
        One line an error; empty if all is well.
    """
    model = PARTICIPATIONS[name]
    if not issubclass(model, Rated):
        return option_errors(model.Options, options)
    spread = options.get(_SPREAD, _DEFAULT_SPREAD)
    if not isinstance(spread, str) or spread not in SPREADS:
        own = {k: v for k, v in options.items() if k in model.Options.model_fields}
        wrong = f"{_SPREAD} = {spread!r}: {nearest(str(spread), SPREADS)}"
        return [wrong, *option_errors(model.Options, own)]
    return option_errors(_joint_options(name, spread), options)


def make_participation(
    name: str,
    options: Mapping[str, object] = MappingProxyType({}),
    seed: int = 0,
    labels: Sequence[str] = (),
) -> Model:
    """Build a participation model.

    Parameters
    ----------
    name : str
        One of `participation_names`.
    options : mapping of str to object
        By kebab-case name, as in ``participation-args``.
    seed : int
        The run's seed.
    labels : sequence of str
        All labels of the task, in order; the spreads ``dirichlet`` and ``label-group`` need them.

    Raises
    ------
    ConfigurationError
        Unknown name or wrong options, all at once; a trace that cannot be read.
    """
    if name not in PARTICIPATIONS:
        raise ConfigurationError(f"participation = '{name}': {nearest(name, PARTICIPATIONS)}")
    errors = participation_option_errors(name, options)
    if errors:
        raise ConfigurationError(f"participation-args: {name}: {line}" for line in errors)
    model = PARTICIPATIONS[name]
    if not issubclass(model, Rated):
        return model(model.Options.model_validate(dict(options)), seed)
    spread = SPREADS[str(options.get(_SPREAD, _DEFAULT_SPREAD))]
    own = {k: v for k, v in options.items() if k != _SPREAD and k not in spread.model_fields}
    rule = spread.model_validate({k: v for k, v in options.items() if k in spread.model_fields})
    return model(model.Options.model_validate(own), seed, rule, labels)


@functools.cache
def _joint_options(name: str, spread: str) -> type[BaseModel]:
    """Return the options of a model and of a spread as one, so that all errors are found."""
    return create_model(
        f"{name}-{spread}",
        __base__=(PARTICIPATIONS[name].Options, SPREADS[spread]),
        spread=(str, Field(default=spread, description="How p differs from client to client.")),
    )
