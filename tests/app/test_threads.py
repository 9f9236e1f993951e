"""How threads wait for one another is set before torch is loaded, unless somebody has said."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PRINT = "import app, os, sys; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"


@pytest.mark.parametrize(
    ("said", "found"),
    [({}, "3000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_the_apps_threads_do_not_spin_for_long(said: dict[str, str], found: str) -> None:
    known = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
    environment = {key: value for key, value in os.environ.items() if key not in known}
    done = subprocess.run(
        [sys.executable, "-c", PRINT],
        env={**environment, **said},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [found, "False"]
