"""FairLoRA with singular values that stay with the client: Li et al., IEEE TMI 2025,
https://arxiv.org/abs/2508.00873 (the option LOCAL_S of the paper's code)

    U, V and the head as the rule inside averages them; S_{k,g} is client k's own
"""

from __future__ import annotations

from typing import ClassVar

from models.schema import NamedArrays, Schema
from strategies import base
from strategies.aggregation.fair.factors import keys_of_s
from strategies.fair.fairlora import FairLoRA
from strategies.personal.parts import PersonalParts


class LocalS(PersonalParts):
    """Singular vectors shared, all groups' singular values each client's own."""

    about: ClassVar[str] = "U and V shared, singular values stay with the client"
    travels: ClassVar[str] = "U, V"
    needs_groups: ClassVar[bool] = True
    default_inner: ClassVar[type[base.Strategy] | None] = FairLoRA

    def shared(self, arrays: NamedArrays) -> Schema:
        """Return the schema of everything but S."""
        own = set(keys_of_s(arrays.schema))
        return arrays.schema.only([key for key in arrays if key not in own])
