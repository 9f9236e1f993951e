"""The methods of which pages speak: ours, and those of packages that pages tell to install."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest
from typer.testing import CliRunner
from written import ROOT

import app.cli.methods
import app.registry
from app.built_in import BUILT_IN
from app.cli import main
from app.plugins.packages import GROUP
from app.registry import Registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with the generated package and the example, which commands see too."""
    mine = tmp_path_factory.mktemp("mine") / "my-method"
    done = CliRunner().invoke(main, ["new-method", "my-method", "--out", str(mine)])
    assert done.exit_code == 0, done.output
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(mine)
        patch.syspath_prepend(ROOT / "examples" / "plugin")
        points = [
            EntryPoint("my-method", "bouquet_my_method:METHOD", GROUP),
            EntryPoint("fednova", "bouquet_fednova:METHOD", GROUP),
        ]
        known = Registry(BUILT_IN, points)
        assert known.broken == []
        for module in (app.registry, app.cli.methods):
            patch.setattr(module, "registry", lambda: known)
        yield known
