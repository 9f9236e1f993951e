"""The options of the task ``causal-lm``; light, so that settings are checked without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

PROMPT = "{prompt}"


class LanguageOptions(BaseModel):
    """How texts become tokens, which of them are learned, and what is written in the end."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
    )
    loss_on: Annotated[
        Literal["responses", "all"],
        Field(description="the tokens that are learned and scored; of plain texts all are"),
    ] = "responses"
    too_long: Annotated[
        Literal["cut", "drop", "refuse"],
        Field(description="what becomes of texts beyond max-length"),
    ] = "cut"
    packing: Annotated[
        bool, Field(description="several texts a row in training, apart from each other")
    ] = False
    prompt_template: Annotated[
        str,
        Field(
            description="what stands before a response, with {prompt}; empty = the chat template"
        ),
    ] = ""
    samples: Annotated[int, Field(ge=0, le=100, description="texts written for the report")] = 3
    sample_tokens: Annotated[int, Field(ge=1, le=4096, description="longest of them")] = 48
    temperature: Annotated[float, Field(ge=0, le=100, description="0 = the likeliest token")] = 0.0
    prompts: Annotated[
        tuple[str, ...], Field(description="what they continue; empty = the server's test texts")
    ] = ()

    @field_validator("prompt_template")
    @classmethod
    def _names_the_prompt(cls, value: str) -> str:
        if value and value.count(PROMPT) != 1:
            raise ValueError("must hold {prompt} once, or be empty")
        return value
