"""The line to the SuperLink: how long a run waits for one that is away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import httpx
from flwr.serverapp import Grid
from flwr.supercore.retry import RetryInvoker, exponential

from models.errors import LinkError

PATIENCE = 60.0
"""Seconds. A SuperLink that comes back later has given the run up: it waits for signs of life of a
ServerApp for as long (Flower 1.41)."""

_LONGEST_PAUSE = 5
"""Seconds between two attempts. Flower's heartbeat, log and grid take turns at waiting, so a call
ends a few pauses after its time."""


@contextmanager
def connected(grid: Grid, patience: float = PATIENCE) -> Iterator[None]:
    """Bridge a SuperLink's absence, but not for ever.

    Flower's own grid repeats every call until it succeeds, so that without an end a run whose
    SuperLink is gone for good would hold its run directory for ever.

    Parameters
    ----------
    grid : Grid
        Flower's own; in simulation there is no line to lose.
    patience : float
        Seconds for which a call is repeated.

    Raises
    ------
    LinkError
        The SuperLink was away for longer.
    """
    retries = getattr(grid, "_retry_invoker", None)
    if isinstance(retries, RetryInvoker):
        retries.max_time = patience
        retries.wait_gen_factory = partial(exponential, max_delay=_LONGEST_PAUSE)
    try:
        yield
    except httpx.TransportError as error:
        raise LinkError(
            f"the SuperLink could not be reached for {patience:g} s ({type(error).__name__}); when "
            "it and the nodes are back, continue with the same run-name and resume=true"
        ) from error
