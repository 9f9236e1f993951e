"""What ``bouquet new-method`` writes: each file of the package, with words for its name."""

from __future__ import annotations

from collections.abc import Mapping

PYPROJECT = """\
[build-system]
requires = ["setuptools>=68"]
build-backend = "setuptools.build_meta"

[project]
name = "$package"
version = "0.1.0"
description = "$kind for Bouquet"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["fedbouquet>=$version"]

[project.entry-points."fedbouquet.methods"]
$name = "$module:METHOD"

[tool.setuptools]
py-modules = ["$module"]
"""

METHOD = '''\
"""$kind: AUTHORS, "TITLE", VENUE YEAR, https://arxiv.org/abs/...

Where the paper's algorithm box differs from FedAvg, in its letters. As generated, a client's share
grows with the q-th power of its examples:

    w_{t+1} = sum_{k in S_t} n_k^q w_k / sum_{k in S_t} n_k^q

S_t is the cohort of round t, n_k the examples of client k, w_k its adapter after local training;
q = 1 is FedAvg.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from fedbouquet import FedAvg, FedAvgOptions, Method, RoundContext, Update


class ${kind}Options(FedAvgOptions):
    """Options: each has a default, a range and its help."""

    q: Annotated[float, Field(gt=0, le=1, description="power of a client's examples")] = 0.5


class $kind(FedAvg):
    """The server half."""

    about: ClassVar[str] = "mean of the clients' adapters, weighted by a power of their examples"
    Options = ${kind}Options
    options: ${kind}Options

    # ---- the idea: put your paper's here, as one override ------------------------------------
    def weight(self, update: Update, context: RoundContext) -> float:
        """Return n_k^q."""
        return float(super().weight(update, context) ** self.options.q)


METHOD = Method(
    name="$name",
    strategy=$kind,
    paper="AUTHORS, VENUE YEAR, https://arxiv.org/abs/...",
    preset={"num-server-rounds": 5},
)
'''

TEST = '''\
"""$kind: its equation by hand, and what every method must keep to."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from $module import METHOD, $kind
from fedbouquet.testing import RULE_CHECKS, RUN_CHECKS, RuleCheck, RunCheck, started, step, update


@pytest.mark.parametrize("check", RULE_CHECKS.values(), ids=RULE_CHECKS)
def test_rule(check: RuleCheck, tmp_path: Path) -> None:
    check($kind, tmp_path)


@pytest.mark.parametrize("check", RUN_CHECKS.values(), ids=RUN_CHECKS)
def test_run(check: RunCheck, tmp_path: Path) -> None:
    check({**METHOD.preset, "strategy": "$name", "num-server-rounds": 2}, tmp_path)


def test_the_entry_point_gives_the_method() -> None:
    (point,) = entry_points(group="fedbouquet.methods", name="$name")
    assert point.load() is METHOD


def test_two_clients_by_hand() -> None:
    """With q = 1/2, one example and nine weigh one and three."""
    strategy = started($kind)
    pair = [update(0, weight=1), update(1, weight=9)]
    step(strategy, [pair])
    a, b = (u.arrays.vector.astype(np.float64) for u in pair)
    np.testing.assert_allclose(strategy.arrays.vector, (a + 3 * b) / 4, rtol=1e-6, atol=1e-7)
'''

README = """\
# $kind for Bouquet

What it does, in a sentence; the paper and what it claims.

```sh
pip install -e .
bouquet methods $name
bouquet run $name                              # its preset
bouquet run $name strategy-args='q=0.8' seed=7
pip install pytest && pytest                   # what every method must keep to; its equation
```

`$module.py` is the whole method; its idea is one override. In simulation the package must be
installed beside Bouquet. On real machines it must be installed on the server, at each site and
where runs are started, in the same version.
"""

FILES: Mapping[str, str] = {
    "pyproject.toml": PYPROJECT,
    "$module.py": METHOD,
    "tests/test_$module.py": TEST,
    "README.md": README,
}
