"""A registry of four methods, for tests of the settings and of the command line."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from app.surroundings import Surroundings
from models.errors import nearest
from strategies.rounds.closing import is_stale

_OPTIONS = {
    "fedavg": set(),
    "fedstale": {"beta"},
    "fedopt": {"optimizer", "learning-rate"},
    "fedit": {"token"},
}


class FakeCatalogue(Surroundings):
    """Knows which options there are and nothing of their values."""

    def method_names(self) -> Collection[str]:
        return list(_OPTIONS)

    def presets(self) -> dict[str, Mapping[str, object]]:
        return {}

    def missing_method(self, name: str) -> str:
        return f"no method '{name}'; {nearest(name, self.method_names())}"

    def is_wrapper(self, name: str) -> bool:
        return name in ("fedopt", "fedstale")

    def option_errors(self, name: str, options: Mapping[str, object]) -> list[str]:
        unknown = [key for key in options if key not in _OPTIONS[name]]
        return [f"unknown option '{key}' = {options[key]!r}" for key in unknown]

    def composition_errors(
        self, names: tuple[str, ...], options: Mapping[str, Mapping[str, object]]
    ) -> list[str]:
        return []

    def closing_of(
        self, names: tuple[str, ...], options: Mapping[str, Mapping[str, object]]
    ) -> str:
        return "all"

    def closing_errors(
        self, closing: str, names: tuple[str, ...], options: Mapping[str, Mapping[str, object]]
    ) -> list[str]:
        if not is_stale(closing):
            return []
        return ["'fedit' needs updates of its own round"] if "fedit" in names else []

    def method_needs_labels(self, name: str) -> bool:
        return False

    def objective_needs_labels(self, name: str) -> bool:
        return False

    def objective_of(self, names: tuple[str, ...]) -> str:
        return "cross-entropy"

    def objective_names(self) -> Collection[str]:
        return ["cross-entropy", "fedprox"]

    def objective_option_errors(self, name: str, options: Mapping[str, object]) -> list[str]:
        allowed = {"mu"} if name == "fedprox" else set()
        return [f"unknown option '{key}'" for key in options if key not in allowed]

    def adapter_names(self) -> Collection[str]:
        return ["lora", "ia3", "bias", "head"]

    def adapter_option_errors(self, name: str, options: Mapping[str, object]) -> list[str]:
        allowed = {"rank", "token"} if name == "lora" else set()
        return [f"unknown option '{key}'" for key in options if key not in allowed]
