"""A frozen base with an adapter, whose trainable numbers are one flat buffer in schema order.

Loading a client's start, stepping the optimiser and reading the result are then one copy or one
operation each, however many arrays the adapter has.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch

from models.adapters import Adapter
from models.errors import ClientError, ModelError, one_line
from models.fairness.counts import GROUPS
from models.lora.base_change import ChangingBase
from models.lora.targets import untie
from models.schema import ArraySpec, Fact, NamedArrays, Schema, Vector
from models.tasks import TASKS, Kind, LoadedBase

_PEFT_HEADS = frozenset(["classifier", "score"])


class AdaptedModel:
    """A PEFT model and the flat view of what is trained.

    Parameters
    ----------
    base : LoadedBase
        Frozen base; its fresh modules (the head) are trained whole and travel.
    kind : {"image", "text", "table"}
    adapter : Adapter
    facts : mapping
        Further facts for the schema, such as the base's fingerprint.
    seed : int
        Seeds the adapter's own initial values (A of LoRA).
    device : str
        Torch device the model is put on.

    Attributes
    ----------
    schema : Schema
    base : ChangingBase
        The frozen weights of the adapted layers, for methods that change them.
    flat : torch.Tensor, shape (schema.size,), float32
        All trainable numbers; ``flat.grad`` is the buffer that backward passes add into.
    places : dict of str to torch.nn.Parameter
        The parameters behind the keys of the schema; views into `flat`.
    """

    def __init__(
        self,
        base: LoadedBase,
        kind: Kind,
        adapter: Adapter,
        facts: Mapping[str, Fact],
        seed: int,
        device: str = "cpu",
    ) -> None:
        from peft import get_peft_model

        self.kind = kind
        torch.manual_seed(seed)
        heads = _heads(base.fresh, TASKS[kind].peft_type)
        config = adapter.peft_config(base.module, heads, TASKS[kind].peft_type)
        untie(base.module, config.target_modules or ())
        quantised = bool(getattr(base.module, "is_quantized", False))
        if adapter.needs_full_precision:
            if quantised:
                raise ModelError("this adapter trains the base's own biases: leave out bits")
            base.module.float()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.module: Any = get_peft_model(base.module, config)
        if not quantised:  # which is where it was put when it was loaded
            self.module.to(device)
        # PEFT's wrapper says it is in training while the base in it still is not.
        self.module.eval()
        self._config = config
        if adapter.takes_groups:
            from models.fairlora.tuner import accept_groups

            accept_groups(self.module)
        else:
            self.module.register_forward_pre_hook(_without_groups, with_kwargs=True)
        for name, part in self.module.named_modules():
            if name.endswith(".modules_to_save.default"):
                # What is trained is float32; a base in half precision hands it half numbers.
                part.register_forward_pre_hook(_to_float32)
        self.device = torch.device(device)
        self.base = ChangingBase(self.module)
        self._keeps_activations = True
        if not any(p.requires_grad for p in self.module.parameters()):
            name = type(self.module.get_base_model()).__name__
            raise ModelError(
                f"adapter: '{type(adapter).__name__.lower()}' finds nothing to train in {name}, "
                "such as bias terms; take lora"
            )
        self._bind(_trainable_by_key(self.module), {**facts, **adapter.facts()})

    def _bind(self, places: Mapping[str, torch.nn.Parameter], facts: Mapping[str, Fact]) -> None:
        """Lay the trainable parameters into one flat buffer."""
        self.places = dict(places)
        specs = tuple(ArraySpec(key, tuple(p.shape)) for key, p in sorted(places.items()))
        self.schema = Schema(specs, facts)
        self.flat = torch.nn.Parameter(
            torch.empty(self.schema.size, dtype=torch.float32, device=self.device)
        )
        self.flat.grad = torch.zeros_like(self.flat)
        for key, (place, shape) in self.schema.slices.items():
            parameter = places[key]
            self.flat.data[place] = parameter.data.reshape(-1).float()
            parameter.data = self.flat.data[place].view(shape)
            parameter.grad = self.flat.grad[place].view(shape)
        self._scaling = self.schema.facts.get("scaling")

    def load(self, vector: Vector) -> None:
        """Set all trainable numbers; `vector` has shape (schema.size,)."""
        if vector.shape != (self.schema.size,):
            raise ModelError(f"{vector.shape[0]} numbers do not fit {self.schema.size}")
        with torch.no_grad():
            self.flat.copy_(torch.from_numpy(vector.astype("float32", copy=False)))

    def read(self) -> Vector:
        """Return a copy of all trainable numbers, shape (schema.size,), float32."""
        copied: Vector = self.flat.detach().cpu().numpy().copy()
        return copied

    def set_scaling(self, facts: Mapping[str, Fact]) -> None:
        """Take the scaling of a start of another rank, or the adapter's own again."""
        own = self.schema.facts.get("scaling")
        wanted = facts.get("scaling", own)
        if wanted is None or wanted == self._scaling:
            return
        for part in self.module.modules():
            scalings = getattr(part, "scaling", None)
            if isinstance(scalings, dict):
                for name in scalings:
                    scalings[name] = wanted
        self._scaling = wanted

    def keep_activations(self, wanted: bool) -> None:
        """Keep activations for the backward pass, or compute them again in it.

        Raises
        ------
        ClientError
            ``checkpointing``: this base cannot do the latter.
        """
        if wanted == self._keeps_activations:
            return
        if wanted:
            self.module.gradient_checkpointing_disable()
        else:
            try:
                # The other way needs inputs with a gradient, which a frozen embedding has not.
                self.module.gradient_checkpointing_enable({"use_reentrant": False})
            except ValueError as error:
                raise ClientError(
                    "checkpointing",
                    f"this base cannot compute activations again ({one_line(str(error))}); set "
                    "gradient-checkpointing=false",
                ) from None
        self._keeps_activations = wanted

    def arrays(self) -> NamedArrays:
        """Return the trainable numbers under their PEFT keys."""
        return NamedArrays(self.schema, self.read())

    def peft_config(self, base_name: str) -> dict[str, object]:
        """Return the content of ``adapter_config.json``, as PEFT itself writes it."""
        raw = self._config.to_dict()
        raw.update(base_model_name_or_path=base_name, inference_mode=True)
        return {key: _plain(value) for key, value in raw.items()}


def _heads(fresh: tuple[str, ...], task: str | None) -> list[str]:
    """Return the modules that PEFT is to train whole.

    For sequence classification PEFT takes ``classifier`` and ``score`` by itself. A layer inside,
    named beside them, would get a trained copy that nothing reads.
    """
    if task != "SEQ_CLS":
        return list(fresh)
    whole = (name.partition(".")[0] for name in fresh)
    pairs = zip(fresh, whole, strict=True)
    return [*dict.fromkeys(top if top in _PEFT_HEADS else name for name, top in pairs)]


def _to_float32(part: torch.nn.Module, inputs: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(
        x.float() if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in inputs
    )


def _without_groups(
    _: torch.nn.Module, inputs: tuple[object, ...], named: dict[str, object]
) -> tuple[tuple[object, ...], dict[str, object]]:
    # An objective may want the groups of a batch where the adapter has no use for them.
    return inputs, {name: value for name, value in named.items() if name != GROUPS}


def _trainable_by_key(module: Any) -> dict[str, torch.nn.Parameter]:
    """Match PEFT's state-dict keys with the trainable parameters behind them."""
    from peft import get_peft_model_state_dict

    trainable = {p.data_ptr(): p for p in module.parameters() if p.requires_grad}
    state = get_peft_model_state_dict(module, save_embedding_layers=False)
    places: dict[str, torch.nn.Parameter] = {}
    taken: set[int] = set()
    # PEFT lists a head's bias twice under bias="all"; the plain key is the one it loads.
    for key in sorted(state, key=lambda k: (".modules_to_save." in k, ".original_module." in k, k)):
        pointer = state[key].data_ptr()
        if pointer in trainable and pointer not in taken:
            places[key] = trainable[pointer]
            taken.add(pointer)
    if len(taken) != len(trainable):
        raise ModelError(
            f"{len(trainable) - len(taken)} trainable arrays are not in PEFT's saved adapter; "
            "this base and adapter kind do not go together"
        )
    return places


def _plain(value: object) -> object:
    """Turn a value of PEFT's configuration into what JSON holds."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    if hasattr(value, "value"):
        return value.value
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return value
