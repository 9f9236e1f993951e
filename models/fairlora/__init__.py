"""FairLoRA's adapter, registered with PEFT: import this before PEFT reads such a folder."""

from __future__ import annotations

from peft.utils import PeftType, register_peft_method

from models.fairlora.config import NAME, FairLoraConfig
from models.fairlora.layer import FairLoraLinear
from models.fairlora.tuner import FairLoraModel

__all__ = ["NAME", "FairLoraConfig", "FairLoraLinear", "FairLoraModel"]


def _register() -> None:
    """Make the kind known; PEFT's list of kinds is an enumeration, which has to grow for it."""
    if NAME in PeftType.__members__:
        return
    kind = str.__new__(PeftType, NAME)
    kind._name_, kind._value_ = NAME, NAME
    PeftType._member_names_.append(NAME)
    PeftType._member_map_[NAME] = PeftType._value2member_map_[NAME] = kind
    type.__setattr__(PeftType, NAME, kind)
    register_peft_method(name=NAME.lower(), config_cls=FairLoraConfig, model_cls=FairLoraModel)


_register()
