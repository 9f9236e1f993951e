"""Options that methods of prototypes have in common; the client halves have the same."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from strategies import base


class PrototypesOptions(base.Options):
    """Options of all methods whose clients send class means."""

    min_examples_per_class: Annotated[
        int, Field(ge=1, description="a class of which a client has fewer is not sent")
    ] = 2
    clip: Annotated[
        float, Field(ge=0, description="longest that a row may be when it leaves; 0 = any length")
    ] = 0.0
    noise: Annotated[
        float,
        Field(ge=0, description="standard deviation of the noise on each number, in units of clip"),
    ] = 0.0

    @model_validator(mode="after")
    def _noise_needs_a_limit(self) -> Self:
        if self.noise and not self.clip:
            raise ValueError("noise is in units of clip; give clip a value above 0 too")
        return self


class CollectingOptions(PrototypesOptions):
    """Options of methods that may collect class means while they train."""

    collect: Annotated[
        Literal["all-epochs", "last-epoch", "after"],
        Field(description="what the means are over: the passes of training, or one after it"),
    ] = "all-epochs"


class NearestOptions(CollectingOptions):
    """Options of methods that classify by the nearest global prototype."""

    lambda_: Annotated[
        float, Field(alias="lambda", ge=0, description="weight of the pull towards the prototypes")
    ] = 1.0
    inference: Annotated[
        Literal["prototype", "head"],
        Field(description="the rule behind 'accuracy'; the other one's is reported beside it"),
    ] = "prototype"
