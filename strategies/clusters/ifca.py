"""IFCA: Ghosh et al., "An Efficient Framework for Clustered Federated Learning", NeurIPS 2020,
https://arxiv.org/abs/2006.04088

There are k models theta_1 ... theta_k. Every client gets them all, so that the way down costs k
times as much, finds the one that fits its data best, trains it and returns it:

    j_i = argmin_j F_i(theta_j),   theta_i = tau local steps from theta_{j_i}
    theta_j <- mean of theta_i over S_j = {i : j_i = j};   unchanged where S_j is empty

The mean is unweighted, as in the authors' program. ``averaging='gradients'`` is the paper's other
variant: each client takes one step of rate gamma on all its examples, and

    theta_j <- theta_j - gamma/m sum_{i in S_j} grad F_i(theta_j),   m = all participants

All begin differently, for if they were one function all clients would choose the same one, and
with LoRA they are while B = 0. ``start='distinct'`` perturbs B and the head; ``start='random'``
deals the clients out over the models in the first round. Either may begin badly: with ``restarts``
several starts are tried one after the other, and the one with the least loss goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from models.randomness import derive_generator
from models.schema import NamedArrays
from models.stacked import stack
from strategies import base
from strategies.aggregation.clusters.starts import dealt, perturbed
from strategies.clusters.by_cluster import ByCluster
from strategies.clusters.clustered import Clustered
from strategies.rounds.context import Instruction, RoundContext, Update


class IFCAOptions(base.Options):
    """Options of `IFCA`; k is `clusters`."""

    clusters: Annotated[int, Field(ge=1, le=99, description="k, the number of models")] = 2
    start: Annotated[
        Literal["distinct", "random"],
        Field(description="models that begin apart, or a first round with clients dealt out"),
    ] = "distinct"
    spread: Annotated[
        float, Field(gt=0, description="of distinct starts: noise over the numbers' own deviation")
    ] = 0.1
    restarts: Annotated[int, Field(ge=1, description="starts that are tried")] = 1
    restart_rounds: Annotated[int, Field(ge=2, description="rounds that each start gets")] = 3
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


class IFCA(Clustered):
    """k models; each client trains the one of least loss."""

    about: ClassVar[str] = "k models, each client trains the one that fits its data best"
    Options: ClassVar[type[base.Options]] = IFCAOptions
    options: IFCAOptions

    def initialise(self, arrays: NamedArrays) -> None:
        """Open the models of the first start."""
        super().initialise(arrays)
        self._try = 0
        self._fresh = True
        self._best: dict[int, base.Strategy] = {}
        self._best_assignment: dict[str, int] = {}
        self._best_loss = np.inf
        self._loss: float | None = None
        self._counts: Counter[int] = Counter()
        self._stacked: dict[tuple[int, ...], tuple[list[NamedArrays], NamedArrays]] = {}
        self._begin_try()

    def _begin_try(self, server_round: int = 0) -> None:
        self.clusters, self._assignment, self._fresh = {}, {}, True
        for _ in range(self.options.clusters):
            cluster = self.add_cluster(server_round=server_round)
            if self.options.start == "distinct":
                # The first model comes from the run's seed, and so does what is derived from it.
                mark = hashlib.sha256(self._first.vector.tobytes()).hexdigest()
                noise = derive_generator(0, "ifca", mark, cluster)
                rule = self.clusters[cluster]
                rule.arrays = perturbed(rule.arrays, self.options.spread, noise)

    # ---- a round -------------------------------------------------------------------------

    def _dealt(self, context: RoundContext) -> Mapping[str, int]:
        """Return who is dealt which model; empty where clients choose."""
        if self.options.start != "random" or not self._fresh:
            return {}
        numbers = sorted(self.clusters)
        places = dealt(context.available, len(numbers), context.seed, "ifca", "deal", self._try)
        return {client: numbers[place] for client, place in places.items()}

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Send all models, to choose from; the one that was dealt, at a random start."""
        cluster = self._dealt(context).get(client)
        if cluster is not None:
            told = self.clusters[cluster].instruct(client, self.view(cluster, context))
            return self._all([told]) if self.options.averaging == "gradients" else told
        return self._all([rule.instruct(client, context) for _, rule in self._numbered()])

    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction:
        """Send all models: the client evaluates the one of least loss on its train part."""
        rules = [rule for _, rule in self._numbered()]
        return self._all([rule.instruct_evaluation(client, context) for rule in rules])

    def _numbered(self) -> list[tuple[int, base.Strategy]]:
        return sorted(self.clusters.items())

    def _all(self, told: list[Instruction]) -> Instruction:
        """Return one instruction for all models; what they ask of the client is the same."""
        first, models = told[0], [item.arrays for item in told]
        place = tuple(id(model) for model in models)
        if place not in self._stacked:  # the models stay beside it, so that their ids do
            self._stacked[place] = (models, stack(models))
        inner = {k: v for k, v in first.config.items() if not k.startswith("trainer")}
        options = {
            key.removeprefix("trainer."): value
            for key, value in first.config.items()
            if key.startswith("trainer.")
        }
        inner |= {
            "trainer": "ifca",
            "trainer.then": first.config.get("trainer", "plain"),
            "trainer.options": json.dumps(options),
            "trainer.gradient": self.options.averaging == "gradients",
        }
        return Instruction(
            self._stacked[place][1], inner, first.reply or first.arrays.schema, first.base_version
        )

    def begin(self, context: RoundContext) -> Choices:
        """Open k aggregations."""
        return Choices(self, context)

    def told(self, update: Update, context: RoundContext) -> int | None:
        """Return the model that was dealt or chosen; the one of before where nothing is said."""
        cluster = self._dealt(context).get(update.client)
        if cluster is not None:
            return cluster
        numbers, said = sorted(self.clusters), update.metrics.get("cluster")
        if said is not None and 0 <= said < len(numbers):
            return numbers[int(said)]
        return self._assignment.get(update.client, numbers[0])

    def weighed(self, update: Update) -> Update:
        """Count every client alike, unless its examples are to count."""
        return update if self.options.weights == "examples" else replace(update, weight=1.0)

    def conclude(self, aggregation: Any, context: RoundContext) -> None:
        """Average within each model; go on to the next start when its time is over."""
        self._stacked = {}
        self._counts = Counter(aggregation.told.values())
        super().conclude(aggregation, context)
        if aggregation.told:
            self._fresh = False
        losses = [aggregation.losses[c] for c in sorted(aggregation.losses)]
        self._loss = float(np.mean(losses)) if losses else None
        self._consider(context)

    def conclude_in(self, cluster: int, aggregation: Any, context: RoundContext) -> None:
        """Take the mean; of gradients, only the share of the participants that chose it."""
        rule = self.clusters[cluster]
        before = rule.arrays
        super().conclude_in(cluster, aggregation, context)
        if self.options.averaging == "gradients":
            share = self._counts[cluster] / self._counts.total()
            old = before.vector.astype(np.float64)
            rule.arrays = before.replace(old + share * (rule.arrays.vector - old))

    def _consider(self, context: RoundContext) -> None:
        """Keep the better of this start and the best before, and begin the next one."""
        starts = self.options.restarts
        due = context.round // self.options.restart_rounds
        if starts == 1 or self._try >= starts or due <= self._try:
            return
        loss = np.inf if self._loss is None else self._loss
        if not self._best or loss < self._best_loss:
            self._best, self._best_assignment = self.clusters, self._assignment
            self._best_loss = loss
        self._try += 1
        if self._try < starts:
            self._begin_try(context.round)
        else:
            self.clusters, self._assignment = self._best, self._best_assignment
            self._best, self._best_assignment = {}, {}

    def figures(self) -> Mapping[str, float]:
        """Return the mean of the least losses beside the rest."""
        own = {} if self._loss is None else {"least_loss": self._loss}
        return {**super().figures(), **own}

    def forget(self, client: str, server_round: int) -> None:
        """Drop the client from the best start so far, too."""
        super().forget(client, server_round)
        cluster = self._best_assignment.pop(client, None)
        if cluster is not None and self._best and self._best is not self.clusters:
            self._best[cluster].forget(client, server_round)

    def saved(self, oldest: int) -> None:
        """Tell the rules of the best start so far, too."""
        super().saved(oldest)
        for rule in self._best.values():
            rule.saved(oldest)

    def state(self) -> base.State:
        """Return the models, and where the search for a start is."""
        values: dict[str, base.Value] = {
            "try": self._try,
            "fresh": self._fresh,
            "best": json.dumps(sorted(self._best)),
            "best-assignment": json.dumps(self._best_assignment),
            "best-loss": float(self._best_loss) if self._best else None,
        }
        found = base.State(values=values) | super().state()
        for cluster, rule in self._best.items():
            found |= rule.state().nested(f"best-{cluster}")
        return found

    def restore(self, state: base.State) -> None:
        """Take all of it back."""
        super().restore(state)
        self._try, self._fresh = int(state.values["try"] or 0), bool(state.values["fresh"])
        self._best_assignment = json.loads(str(state.values["best-assignment"]))
        best = state.values["best-loss"]
        self._best_loss = np.inf if best is None else float(best)
        self._best = {}
        for cluster in json.loads(str(state.values["best"])):
            self._best[cluster] = self.instance(cluster)
            self._best[cluster].restore(state.under(f"best-{cluster}"))
