"""Adapter kinds: what of a base model is trained and travels. All through PEFT.

A kind is a frozen dataclass of options; `peft_config` turns it into PEFT's own configuration, so
that the saved folder is an ordinary PEFT adapter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import ConfigurationError, ModelError, nearest
from models.lora.targets import attention_targets, family_targets, linear_names
from models.schema import Fact

# PEFT's own name for "no layer is wrapped"; what is trained is then the head and, maybe, biases.
_NO_LAYER = "dummy-target-modules"

_FEED_FORWARD = ("fc2", "down_proj", "dense_4h_to_h", "dense", "lin2", "wo", "c_proj")


class Adapter(BaseModel):
    """Base of all adapter kinds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    summary: ClassVar[str]
    needs_full_precision: ClassVar[bool] = False
    takes_groups: ClassVar[bool] = False

    def peft_config(self, module: Any, heads: list[str], task: str | None) -> Any:
        """Return PEFT's configuration for a base `module` whose `heads` are trained whole."""
        raise ModelError(f"{type(self).__name__} is not an adapter kind of its own")

    def facts(self) -> dict[str, Fact]:
        """Return what must agree between server and client for arrays to mean the same."""
        return {}


class Targeted(Adapter):
    """An adapter on linear layers chosen by name."""

    targets: Annotated[
        str,
        Field(description="comma list of layer names; empty = those usual for the model family"),
    ] = ""

    def target_modules(self, module: Any) -> list[str]:
        """Return the layers to adapt; every given name must match one."""
        if not self.targets:
            return list(family_targets(module))
        wanted = [name.strip() for name in self.targets.split(",") if name.strip()]
        names = [n for n, _ in module.named_modules()]
        for name in wanted:
            if not any(n == name or n.endswith(f".{name}") for n in names):
                raise ModelError(
                    f"adapter-args: no layer is called '{name}'; "
                    f"{nearest(name, linear_names(module))}"
                )
        return wanted


class Lora(Targeted):
    """LoRA (Hu et al. 2022): W + alpha/rank * B A, with rsLoRA and DoRA as options."""

    summary: ClassVar[str] = "low-rank update of linear layers, and the head"
    rank: Annotated[int, Field(ge=1, le=4096, description="rank of the update")] = 8
    alpha: Annotated[float, Field(gt=0, description="the update is scaled by alpha/rank")] = 16.0
    dropout: Annotated[float, Field(ge=0, lt=1, description="dropout before A")] = 0.0
    rslora: Annotated[bool, Field(description="scale by alpha/sqrt(rank)")] = False
    dora: Annotated[bool, Field(description="learn magnitudes apart from directions")] = False

    def peft_config(self, module: Any, heads: list[str], task: str | None) -> Any:
        from peft import LoraConfig

        alpha = int(self.alpha) if float(self.alpha).is_integer() else self.alpha
        return LoraConfig(
            r=self.rank,
            lora_alpha=alpha,
            lora_dropout=self.dropout,
            use_rslora=self.rslora,
            use_dora=self.dora,
            target_modules=self.target_modules(module),
            modules_to_save=heads,
            task_type=task,
        )

    def facts(self) -> dict[str, Fact]:
        scaling = self.alpha / (self.rank**0.5 if self.rslora else self.rank)
        rule: dict[str, Fact] = {"alpha": self.alpha, "rslora": self.rslora, "dora": self.dora}
        return {"rank": self.rank, "scaling": scaling, **rule}


class FairLora(Targeted):
    """FairLoRA (Li et al. 2025): U diag(S_g) V, singular values of each group's own.

    Without `groups` they are those that clients have, without `column` the first of group-columns.
    """

    summary: ClassVar[str] = "low-rank update with singular values for each group, and the head"
    takes_groups: ClassVar[bool] = True
    rank: Annotated[int, Field(ge=1, le=4096, description="number of singular values")] = 12
    alpha: Annotated[float, Field(gt=0, description="the update is scaled by alpha/rank")] = 2.0
    own: Annotated[
        float, Field(gt=0, le=1, description="weight of a sample's own group; 1 = no other counts")
    ] = 0.7
    init: Annotated[
        Literal["same+cycle", "same", "cycle-shift", "lora"],
        Field(description="first values: the paper's code's, or 'lora' for those of LoRA"),
    ] = "same+cycle"
    column: Annotated[str, Field(description="the group column; empty = the first")] = ""
    groups: Annotated[
        tuple[str, ...], Field(description="names of the groups; empty = those that clients have")
    ] = ()

    def peft_config(self, module: Any, heads: list[str], task: str | None) -> Any:
        from models.fairlora import FairLoraConfig
        from models.fairlora.layer import check_initial

        check_initial(self.rank, len(self.groups), self.init)
        return FairLoraConfig(
            r=self.rank,
            alpha=self.alpha,
            group_column=self.column,
            groups=list(self.groups),
            own=self.own,
            init=self.init,
            target_modules=self.target_modules(module),
            modules_to_save=heads,
            task_type=task,
        )

    def facts(self) -> dict[str, Fact]:
        # Not "rank" and "scaling": what works on LoRA's products would leave S out.
        return {
            "singular-values": self.rank,
            "alpha": self.alpha,
            "own": self.own,
            "group-column": self.column,
            "groups": json.dumps(self.groups),
        }


class Ia3(Targeted):
    """IA3 (Liu et al. 2022): rescales keys, values and feed-forward activations."""

    summary: ClassVar[str] = "learned rescaling of keys, values and feed-forward layers"

    def peft_config(self, module: Any, heads: list[str], task: str | None) -> Any:
        from peft import IA3Config

        names = linear_names(module)
        targets = [name for name in self.targets.split(",") if name]
        if targets:
            targets = self.target_modules(module)
        else:
            value = attention_targets(module)[-1]
            key = value.replace("v", "k", 1) if value.startswith("v_") else "key"
            targets = [name for name in (key, value) if name in names]
        feed_forward = [name for name in _FEED_FORWARD if name in names][:1]
        targets = [*dict.fromkeys([*targets, *feed_forward])]
        inner = [name for name in targets if name in _FEED_FORWARD]
        return IA3Config(
            target_modules=targets,
            feedforward_modules=inner,
            modules_to_save=heads,
            task_type=task,
        )


class Bias(Adapter):
    """All bias terms and the head (BitFit; the bias kind of FedPEFT, Sun et al. 2022)."""

    summary: ClassVar[str] = "all bias terms, and the head"
    # A layer cannot add a float32 bias to half-precision products.
    needs_full_precision: ClassVar[bool] = True
    bias: ClassVar[Literal["all", "none"]] = "all"

    def peft_config(self, module: Any, heads: list[str], task: str | None) -> Any:
        from peft import LoraConfig

        return LoraConfig(
            target_modules=_NO_LAYER, bias=self.bias, modules_to_save=heads, task_type=task
        )


class Head(Bias):
    """The head alone (linear probing; the head kind of FedPEFT)."""

    summary: ClassVar[str] = "the head alone"
    needs_full_precision: ClassVar[bool] = False
    bias: ClassVar[Literal["all", "none"]] = "none"


ADAPTERS: dict[str, type[Adapter]] = {
    "lora": Lora,
    "fairlora": FairLora,
    "ia3": Ia3,
    "bias": Bias,
    "head": Head,
}


def make_adapter(kind: str, options: Mapping[str, object]) -> Adapter:
    """Build an adapter kind from its options.

    Raises
    ------
    ConfigurationError
        Unknown kind or option, or a value out of range; names all of them.
    """
    if kind not in ADAPTERS:
        raise ConfigurationError(f"adapter = '{kind}': {nearest(kind, ADAPTERS)}")
    errors = adapter_errors(kind, options)
    if errors:
        raise ConfigurationError(errors)
    return ADAPTERS[kind](**options)


def adapter_errors(kind: str, options: Mapping[str, object]) -> list[str]:
    """Return one line for each wrong option of a known adapter kind."""
    return option_errors(ADAPTERS[kind], options)


def option_errors(model: type[BaseModel], options: Mapping[str, object]) -> list[str]:
    """Return one line for each option that a pydantic model refuses."""
    try:
        model.model_validate(dict(options), strict=False)
    except ValidationError as error:
        return [_line(model, item) for item in error.errors()]
    return []


def _line(model: type[BaseModel], item: Any) -> str:
    name = ".".join(str(part) for part in item["loc"]) or "options"
    if item["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in model.model_fields.items()]
        return f"unknown option '{name}': {nearest(name, known) if known else 'it takes none'}"
    return f"{name} = {item['input']!r}: {item['msg'].removeprefix('Value error, ')}"
