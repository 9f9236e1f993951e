"""Methods by name, and what belongs to them."""

from __future__ import annotations

from app.built_in import BUILT_IN
from app.plugins.method import Method
from app.registry import Registry
from strategies.fedavg import FedAvg


def test_a_methods_own_objective_is_used_where_the_settings_name_none() -> None:
    found = Registry((*BUILT_IN, Method("with-pull", FedAvg, "", objective="fedprox")))
    assert found.objective_of(("fedopt", "with-pull")) == "fedprox"
    assert found.objective_of(("fedopt", "fedavg")) == "cross-entropy"
