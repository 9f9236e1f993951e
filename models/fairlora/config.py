"""The options of FairLoRA's adapter as PEFT saves them, in ``adapter_config.json``."""

from __future__ import annotations

from dataclasses import dataclass, field

from peft import PeftConfig

NAME = "FAIRLORA"


@dataclass
class FairLoraConfig(PeftConfig):
    """Options of `models.fairlora.FairLoraModel`.

    Attributes
    ----------
    r : int
        Rank, the number of singular values.
    alpha : float
        The update is scaled by ``alpha / r``.
    group_column : str
        Where the groups come from; for people.
    groups : list of str
        Names of the groups, in the order of S's rows.
    own : float
        pi of a sample's own group, in (0, 1]; the others share the rest.
    init : {"same+cycle", "same", "cycle-shift", "lora"}
        Initial values; see `models.fairlora.layer.initial_s`.
    target_modules : list of str
    modules_to_save : list of str, optional
    """

    r: int = field(default=12)
    alpha: float = field(default=2.0)
    group_column: str = field(default="")
    groups: list[str] = field(default_factory=list)
    own: float = field(default=0.7)
    init: str = field(default="same+cycle")
    target_modules: list[str] | str | None = field(default=None)
    exclude_modules: list[str] | str | None = field(default=None)
    modules_to_save: list[str] | None = field(default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = NAME
        if isinstance(self.target_modules, list):
            self.target_modules = set(self.target_modules)  # type: ignore[assignment]
