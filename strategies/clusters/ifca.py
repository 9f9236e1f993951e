"""IFCA: Ghosh et al., "An Efficient Framework for Clustered Federated Learning", NeurIPS 2020,
https://arxiv.org/abs/2006.04088

There are k models theta_1 ... theta_k. Every client gets them all, so that the way down costs k
times as much, finds the one that fits its data best, trains it and returns it:

    j_i = argmin_j F_i(theta_j),   theta_i = tau local steps from theta_{j_i}
    theta_j <- mean of theta_i over S_j = {i : j_i = j};   unchanged where S_j is empty

The mean is unweighted, as in the authors' program. ``averaging='gradients'`` is the paper's other
variant: each client takes one step of rate gamma on all its examples, and

    theta_j <- theta_j - gamma/m sum_{i in S_j} grad F_i(theta_j),   m = all participants

The models must begin apart: if they were one function all clients would choose the same one, and
with LoRA they are while B = 0. ``start='updates'``, ours and the default: all train the common
first model once, and k groups of updates (Ward's criterion) make the models. ``start='distinct'``
perturbs B and the head; ``start='random'`` deals the clients out in the first round. These may
begin badly: with ``restarts`` several starts are tried one after the other, and the one with the
least loss goes on. A client that comes later, or changes, chooses like everybody.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from models.errors import ConfigurationError
from models.lora.resize import resized
from models.randomness import derive_generator
from models.schema import NamedArrays
from models.stacked import stack
from strategies import base
from strategies.aggregation.clusters.starts import dealt, perturbed
from strategies.aggregation.clusters.trees import groups_of, settled, ward_tree
from strategies.clusters.by_cluster import ByCluster, Measured
from strategies.clusters.features import Features
from strategies.clusters.restarts import Restarting, RestartOptions
from strategies.personal.ditto import Ditto
from strategies.rounds.context import Instruction, RoundContext, Scalar, Update


class IFCAOptions(RestartOptions):
    """Options of `IFCA`; k is `clusters`."""

    clusters: Annotated[int, Field(ge=1, le=99, description="k, the number of models")] = 2
    start: Annotated[
        Literal["updates", "distinct", "random"],
        Field(description="groups of first updates, perturbed models, or clients dealt out"),
    ] = "updates"
    spread: Annotated[
        float, Field(gt=0, description="of distinct starts: noise over the numbers' own deviation")
    ] = 0.5
    averaging: Annotated[
        Literal["models", "gradients"],
        Field(description="average models, or one full-batch gradient a round"),
    ] = "models"
    weights: Annotated[
        Literal["uniform", "examples"], Field(description="clients count alike, or by examples")
    ] = "uniform"


class Choices(ByCluster):
    """Updates by the model that each client chose, and the losses that they chose by."""

    def __init__(self, owner: IFCA, context: RoundContext) -> None:
        super().__init__(owner, context)
        self.losses: dict[str, float] = {}

    def add(self, update: Update) -> None:
        """Note the least loss beside the update."""
        super().add(update)
        if update.client in self.told and "cluster_loss" in update.metrics:
            self.losses[update.client] = update.metrics["cluster_loss"]

    def merge(self, other: Choices) -> None:
        """Take in another node's choices."""
        super().merge(other)
        self.losses.update(other.losses)


class IFCA(Restarting):
    """k models; each client trains the one of least loss."""

    about: ClassVar[str] = "k models, each client trains the one that fits its data best"
    travels: ClassVar[str] = "k models down, one up"
    Options: ClassVar[type[base.Options]] = IFCAOptions
    options: IFCAOptions

    def __init__(self, inner: base.Strategy | None = None, **options: Any) -> None:
        super().__init__(inner, **options)
        for part in base.layers(self.inner):
            if isinstance(part, Ditto) or part.mixes_models:
                why = "goes around the client's round, and so does"
                if part.mixes_models:
                    why = "lets clients choose by a common model's loss, and they predict by one of"
                    why += " their own with"
                raise ConfigurationError(
                    f"strategy: IFCA {why} {type(part).__name__}; put it inside cfl or "
                    "adaptive-clusters"
                )

    def initialise(self, arrays: NamedArrays) -> None:
        """Open the models of the first start."""
        super().initialise(arrays)
        self._least_loss: float | None = None
        self._counts: Counter[int] = Counter()
        self._dealt: Mapping[str, int] = {}
        self._features: Features | None = None
        self._stacked: dict[tuple[int, ...], tuple[list[NamedArrays], NamedArrays]] = {}

    def open_start(self, server_round: int) -> None:
        """Open k models, which begin apart where that is asked for."""
        # The first model comes from the run's seed, and so does what is derived from it.
        mark = hashlib.sha256(self._first.vector.tobytes()).hexdigest()
        for _ in range(self.options.clusters):
            cluster = self.add_cluster(server_round=server_round)
            if self.options.start == "distinct":
                noise, rule = derive_generator(0, "ifca", mark, cluster), self.clusters[cluster]
                rule.arrays = perturbed(rule.arrays, self.options.spread, noise)

    # ---- what travels --------------------------------------------------------------------

    @property
    def _alike(self) -> bool:
        """Whether all models are the first one still, so that there is nothing to choose."""
        return self.fresh and self.options.start != "distinct"

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send all models, to choose from; the first one alone while all are alike."""
        if not self._alike:
            return self._all([rule.instruct(client, context) for _, rule in self._numbered()])
        told = self.inner.instruct(client, context)
        return self._all([told]) if self.options.averaging == "gradients" else told

    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction:
        """Send all models: the client evaluates the one of least loss on its train part."""
        if self._alike:
            return self.inner.instruct_evaluation(client, context)
        told = [rule.instruct_evaluation(client, context) for _, rule in self._numbered()]
        return self._all(told)

    def _numbered(self) -> list[tuple[int, base.Strategy]]:
        return sorted(self.clusters.items())

    def _all(self, told: list[Instruction]) -> Instruction:
        """Return one instruction for all models; what they ask of the client is the same."""
        models = [item.arrays for item in told]
        # A client may have pruned its rank in one cluster and not in another: the least is for all.
        first = min(told, key=lambda item: item.arrays.schema.size)
        place = tuple(id(model) for model in models)
        if place not in self._stacked:  # the models stay beside it, so that their ids do
            alike = [resized(model, first.arrays.schema) for model in models]
            self._stacked[place] = (models, stack(alike))
        around: dict[str, Scalar] = {"around": "ifca"}
        around["around.gradient"] = self.options.averaging == "gradients"
        return replace(
            first,
            arrays=self._stacked[place][1],
            config={**first.config, **around},
            reply=first.reply or first.arrays.schema,
        )

    # ---- what comes back -----------------------------------------------------------------

    def begin(self, context: RoundContext) -> Any:
        """Open k aggregations; at a start by updates, keep these until they are grouped."""
        if not self._alike:
            return Choices(self, context)
        if self.options.start == "random":
            purpose = ("ifca", "deal", self.start_number)
            clients, count = context.available, self.options.clusters
            self._dealt = dealt(clients, count, context.seed, *purpose)
            return Choices(self, context)
        if self._features is None:
            self._features = Features(
                self.options.feature, self.options.sketch, self.arrays.schema, context.seed
            )
        compare = self._features
        return Measured(lambda update: compare.of(update.arrays, self.arrays), keep=True)

    def told(self, update: Update, context: RoundContext) -> int | None:
        """Return the model that was dealt or chosen; the one of before where nothing is said."""
        numbers, said = sorted(self.clusters), update.metrics.get("cluster")
        if self._alike and self.options.start == "random":
            return numbers[self._dealt.get(update.client, 0)]
        if said is not None and 0 <= said < len(numbers) and not self._alike:
            return numbers[int(said)]
        return self._assignment.get(update.client, numbers[0])

    def heard(self, client: str, metrics: Mapping[str, float]) -> None:
        """Follow a client that chose another model when it was evaluated."""
        numbers, said = sorted(self.clusters), metrics.get("cluster")
        if said is not None and 0 <= said < len(numbers) and not self._alike:
            self.note(client, numbers[int(said)])

    def weighed(self, update: Update) -> Update:
        """Count every client alike, unless its examples are to count."""
        return update if self.options.weights == "examples" else replace(update, weight=1.0)

    def conclude(self, aggregation: Any, context: RoundContext) -> None:
        """Average within each model; go on to the next start when its time is over."""
        self._stacked = {}
        if isinstance(aggregation, Measured):
            aggregation = self._grouped(aggregation, context)
        self._counts = Counter(aggregation.told.values())
        super().conclude(aggregation, context)
        self.fresh = self.fresh and not aggregation.told
        losses = [aggregation.losses[c] for c in sorted(aggregation.losses)]
        self._least_loss = float(np.mean(losses)) if losses else None
        self.consider(self._least_loss, context)

    def _grouped(self, measured: Measured, context: RoundContext) -> Choices:
        """Give each of k groups of updates a model, by Ward's criterion."""
        vectors, numbers = measured.in_order(context), sorted(self.clusters)
        choices = Choices(self, context)
        if vectors:
            rows = np.stack(list(vectors.values()))
            groups = settled(groups_of(ward_tree(rows), len(numbers)), rows)
            self._assignment = {
                client: numbers[group] for client, group in zip(vectors, groups, strict=True)
            }
            self._views = None
            for client in vectors:
                choices.add(measured.updates[client])
        return choices

    def conclude_in(self, cluster: int, aggregation: Any, context: RoundContext) -> None:
        """Take the mean; of gradients, only the share of the participants that chose it."""
        if self.options.averaging == "models":
            super().conclude_in(cluster, aggregation, context)
        else:
            share = self._counts[cluster] / self._counts.total()
            self.step_by(share, cluster, aggregation, context)

    def figures(self) -> Mapping[str, float]:
        """Return the mean of the least losses beside the rest."""
        own = {} if self._least_loss is None else {"least_loss": self._least_loss}
        return {**super().figures(), **own}
