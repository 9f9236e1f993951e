"""Every setting: its key, default, range and help, declared once.

The key in Flower's run-config is the attribute in kebab-case (``num_clients``: ``num-clients``).
`Settings` is frozen, so what was validated before the first message is what runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from app.settings.arguments import freeze, parse_arguments, render_arguments
from app.settings.composition import parse_composition, split_method_args
from app.settings.secrets import mask_arguments, mask_shapes
from app.settings.values import (
    AbsoluteText,
    Arguments,
    Composition,
    Dataset,
    Device,
    Model,
    Names,
    NotEmpty,
    OptionalFolder,
    OutDir,
    PublicData,
    RunName,
    ShipModel,
    render_names,
)
from models.bases.variants import Variant
from models.errors import ConfigurationError

FlatValue = str | int | float | bool
LARGEST = 2**63 - 1  # Flower carries integers as signed 64 bits
DIRICHLET_ARGS = "alpha=0.3"
PARTITIONS_BY_DATA = frozenset(["natural-id", "folders"])


def kebab(name: str) -> str:
    """Return the run-config key of an attribute."""
    return name.replace("_", "-")


def _key(default: FlatValue, help_text: str, **limits: Any) -> Any:
    """Declare one setting; the default is checked like any other value."""
    if isinstance(default, int) and not isinstance(default, bool):
        limits.setdefault("le", LARGEST)
    return Field(default, description=help_text, validate_default=True, **limits)


class Settings(BaseModel):
    """The resolved settings of a run.

    Read them with `parse_run_config`, which also checks names and contradictions. Its values are
    those of the run-config, except: ``*_args`` are immutable nested mappings, comma lists are
    tuples, ``partition_seed`` and ``out_dir`` are resolved, folders are absolute `Path`s.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=kebab,
        populate_by_name=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )

    strategy: Composition = _key("fedavg", "One method, or a composition: outer > inner.")
    strategy_args: Arguments = _key("", "Options of the methods: beta=0.2, or fedstale.beta=0.2.")
    num_server_rounds: int = _key(20, "Rounds to train.", ge=1)
    num_clients: int = _key(20, "Clients the data are split over.", ge=1)
    clients_per_round: int = _key(0, "Clients asked in a round; 0 asks all.", ge=0)
    participation: NotEmpty = _key("always", "Who can answer in a round: a scenario.")
    participation_args: Arguments = _key("", "Options of the scenario: p=0.5, dropout=0.1.")
    closing: str = _key("", "What closes a round; empty: the method's own, most often all.")
    closing_args: Arguments = _key("", "Options of the closing rule: size=10, concurrency=20.")
    clock: Literal["real", "virtual"] = _key("real", "Time as it passes, or as it would pass.")
    population: NotEmpty = _key("same", "How speeds differ over clients, on the virtual clock.")
    population_args: Arguments = _key("", "Options of the population: speed=200, uplink=1e6.")
    seed: int = _key(42, "The seed of everything random.", ge=0)
    partition_seed: int = _key(-1, "The seed of the partition; -1 takes seed.", ge=-1)
    task: Literal["classification", "causal-lm"] = _key(
        "classification", "What is learned: labels, or to continue texts."
    )
    task_args: Arguments = _key("", "Options of the task: packing=true.")
    dataset: Dataset = _key(
        "digits",
        "digits, breast-cancer, shakespeare, a Hugging Face name, or an absolute path.",
    )
    text_column: str = _key("", "Column of the texts; empty finds it.")
    image_column: str = _key("", "Column of the images; empty finds it.")
    table_columns: Names = _key(
        "", "Columns of a table that the model reads; empty takes all but label and groups."
    )
    label_column: str = _key("", "Column of the labels; empty finds it.")
    prompt_column: str = _key("", "Columns of the prompts, between commas; empty finds them.")
    response_column: str = _key("", "Column of the responses to them; empty finds it.")
    messages_column: str = _key("", "Column of the chats; empty finds it.")
    group_columns: Names = _key("", "Columns whose groups are reported apart, between commas.")
    partition: NotEmpty = _key("dirichlet", "How the data are split over clients.")
    partition_args: Arguments = _key(DIRICHLET_ARGS, "Options of the partition.")
    drift: NotEmpty = _key("none", "How clients' data change over the rounds: a scenario.")
    drift_args: Arguments = _key("", "Options of the drift: every=10, slots=3.")
    test_fraction: float = _key(0.2, "Share of a client's rows kept for its test.", gt=0, lt=1)
    model: Model = _key(
        "tiny-vit",
        "tiny-vit, tiny-table, tiny-llama, a Hugging Face name, a path, or pkg:PACKAGE/PATH; "
        "@depth=N cuts it.",
    )
    model_args: Arguments = _key("", "Options of the model.")
    adapter: NotEmpty = _key("lora", "Kind of adapter.")
    adapter_args: Arguments = _key("", "Options of the adapter.")
    rank_args: Arguments = _key("", "Ranks of clients that do not say: ranks=[2, 4, 8].")
    objective: str = _key("", "Local objective; empty takes the method's own.")
    objective_args: Arguments = _key("", "Options of the objective.")
    local_epochs: int = _key(2, "Passes over a client's data in a round.", ge=1)
    local_steps: int = _key(0, "Steps in a round; above 0 they replace local-epochs.", ge=0)
    batch_size: int = _key(16, "Examples a step.", ge=1)
    gradient_accumulation: int = _key(
        1, "Pieces that a step's batch is computed in: less memory.", ge=1
    )
    gradient_checkpointing: bool = _key(
        False, "Compute activations twice instead of keeping them: less memory."
    )
    learning_rate: float = _key(0.01, "Learning rate of the clients' optimizer.", gt=0)
    learning_rate_schedule: Literal["constant", "cosine"] = _key(
        "constant", "How the learning rate goes over the rounds."
    )
    least_learning_rate: float = _key(0.0, "Where a cosine ends, in the last round.", ge=0)
    optimizer: Literal["adamw", "adam", "sgd"] = _key("adamw", "The clients' optimizer.")
    optimizer_args: Arguments = _key("", "Options of the optimizer: momentum=0.9.")
    device: Device = _key("auto", "Where clients compute: auto, cpu, cuda, cuda:N or mps.")
    threads: int = _key(0, "Threads a worker; 0 takes the CPUs given to it.", ge=0, le=1024)
    collect_personal: bool = _key(
        False,
        "Collect every client's own adapter at the end; nodes allow it by share-personal.",
    )
    personalise_epochs: int = _key(
        0, "Epochs of a client's own before it is evaluated; nothing of them is kept.", ge=0
    )
    evaluate_every: int = _key(1, "Evaluate every so many rounds; 0 only the last.", ge=0)
    quorum: int = _key(1, "Fewest clients that must answer for a round to count.", ge=1)
    round_timeout: float = _key(3600.0, "Seconds until a round closes without the rest.", gt=0)
    node_wait_timeout: float = _key(120.0, "Seconds to wait for nodes at the start.", gt=0)
    forget_after: int = _key(
        0, "Rounds after which a client that is not reachable leaves for good; 0 = never.", ge=0
    )
    norm_policy: Literal["record", "clip", "reject"] = _key(
        "record", "What is done about an update far larger than those before."
    )
    norm_factor: float = _key(
        100.0, "How many times the median of the norms before is far larger.", gt=1
    )
    out_dir: OutDir = _key("", "Folder of the run directories; empty: ~/bouquet-runs.")
    run_name: RunName = _key("", "Name of the run directory; empty makes one.")
    resume: bool = _key(False, "Continue the run of this run-name from its newest checkpoint.")
    rehearsal: bool = _key(False, "Greet and prepare the nodes, write what they said, and end.")
    state_dir: OptionalFolder = _key("", "Folder of the clients' own state; empty chooses one.")
    checkpoint_every: int = _key(1, "Write a checkpoint every so many rounds.", ge=1)
    checkpoint_keep: int = _key(2, "Checkpoints kept.", ge=1)
    pack_bytes: int = _key(8_388_608, "Largest message that carries several clients.", ge=1)
    wire_dtype: Literal["float32", "float16", "bfloat16"] = _key(
        "float32", "Type of the numbers that travel."
    )
    ship_model: ShipModel = _key(
        "auto", "Send the base model to nodes that lack it; auto: an embedded one."
    )
    labels: Names = _key("", "All label names in order, between commas; empty finds them.")
    server_data_path: AbsoluteText = _key("", "Absolute path of the server's own test data.")
    public_data: PublicData = _key(
        "10%", "Public share of the train split (10%), or the absolute path of public data."
    )
    baselines: Names = _key("", "Runs to compare with: local, global, or both.")
    trackers: Names = _key("", "Who else is told the numbers: tensorboard, mlflow, wandb.")

    @field_validator("partition_seed")
    @classmethod
    def _resolve_partition_seed(cls, value: int, info: ValidationInfo) -> int:
        return int(info.data.get("seed", value)) if value == -1 else value

    @field_validator("partition_args")
    @classmethod
    def _drop_foreign_default(
        cls, value: Mapping[str, object], info: ValidationInfo
    ) -> Mapping[str, object]:
        # Flower hands the default over as if it had been given; partition=iid alone must work.
        foreign = "dirichlet" not in info.data.get("partition", "dirichlet")
        return freeze({}) if foreign and value == parse_arguments(DIRICHLET_ARGS) else value

    @property
    def methods(self) -> tuple[str, ...]:
        """The composition's names, outermost first."""
        return parse_composition(self.strategy)

    @property
    def method_options(self) -> dict[str, dict[str, object]]:
        """Each method's own part of ``strategy-args``."""
        return split_method_args(self.strategy_args, self.methods)

    @property
    def variants(self) -> tuple[str, ...]:
        """The base models that clients take in turn; empty where all have the one of `model`."""
        given = self.model_args.get("variants", ())
        return tuple(map(str, given)) if isinstance(given, tuple) else ()

    @property
    def model_options(self) -> dict[str, object]:
        """The entries of ``model-args`` that concern every model."""
        return {name: value for name, value in self.model_args.items() if name != "variants"}

    def ships(self, model: str) -> bool:
        """Whether nodes that lack this base model are sent it."""
        auto = self.ship_model == "auto" and Variant.parse(model).embedded
        return self.ship_model == "on" or auto

    @property
    def counts_clients(self) -> bool:
        """Whether ``num-clients`` rules: a natural id or folders bring their own number."""
        return self.partition not in PARTITIONS_BY_DATA

    @property
    def cohort(self) -> int | None:
        """Clients asked in a round; None if all are asked and only the data know how many."""
        if self.clients_per_round:
            return self.clients_per_round
        return self.num_clients if self.counts_clients else None

    @property
    def public_share(self) -> float | None:
        """Public share of the train split in [0, 1); None if ``public-data`` is a path."""
        return float(self.public_data[:-1]) / 100 if self.public_data.endswith("%") else None

    @property
    def run_dir(self) -> Path:
        """The run directory; needs a run name, see `named`."""
        if not self.run_name:
            raise ConfigurationError("run-name is not fixed yet; take settings.named(now) first")
        return self.out_dir / self.run_name

    def named(self, now: datetime) -> Settings:
        """Return settings with a run name: the given one, or one of method, data set and time."""
        if self.run_name:
            return self
        parts = (*self.methods, PurePath(self.dataset.partition(":")[0]).stem)
        words = ["".join(c if c.isalnum() and c.isascii() else "-" for c in p) for p in parts]
        name = f"{'-'.join(words).strip('-')[:80]}-{now:%Y%m%d-%H%M%S}"
        return self.model_copy(update={"run_name": name})

    def to_flat(self) -> dict[str, FlatValue]:
        """Return what config.toml holds: kebab-case keys, scalars, secrets replaced by ``***``."""
        return {kebab(name): _flat(getattr(self, name)) for name in type(self).model_fields}

    def __repr__(self) -> str:
        """Show only what `to_flat` shows: a token never reaches a log this way."""
        return f"Settings({self.to_flat()})"

    __str__ = __repr__


def _flat(value: object) -> FlatValue:
    if isinstance(value, Mapping):
        return render_arguments(mask_arguments(value))
    if isinstance(value, tuple):
        return mask_shapes(render_names(value))
    if isinstance(value, bool | int | float):
        return value
    return "" if value is None else mask_shapes(str(value))
