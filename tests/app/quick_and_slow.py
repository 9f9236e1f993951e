"""Cases of which one runs every time, and the others with the slow suites."""

from __future__ import annotations

from collections.abc import Iterable

import pytest


def one_quick(cases: Iterable[object]) -> list[object]:
    """Mark all but the first as slow; a tuple is the arguments of one case."""
    first, *others = cases
    return [first, *(_slow(case) for case in others)]


def _slow(case: object) -> object:
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
