"""FedDAA: Peng and Tang, "FedDAA: Dynamic Client Clustering for Concept Drift Adaptation in
Federated Learning", 2025, https://arxiv.org/abs/2506.21054

Time goes in slots t; at slot t client i holds D_i^t, and still D_i^{t-1}. When a slot begins,
clients answer with prototypes instead of training: by one reference model (the oldest learner, as
it is now), the mean output vector of each class, C x C numbers: P_i^t on the training part of
D_i^t and P_i^{t-1} on that of D_i^{t-1}.

    K* = the K of 2..9 with the largest silhouette of k-means on {P_i^t};  M <- K*, the learners
    real drift  <=>  nearest centre of P_i^{t-1}  !=  nearest centre of P_i^t
    train on D_i^t after real drift, else on D_i^{t-1} and D_i^t

In every other round all M learners theta_m travel, and client i explains its examples j by them:

    gamma_{j,m} = pi_{i,m} exp(-l(theta_m; x_j, y_j)) / c_{m,y_j}  (divided by its sum over m)
    pi_{i,m} = mean_j gamma_{j,m}
    c_{m,y} = sum_{i,j} gamma_{j,m} [y_j = y] / sum_{i,j} gamma_{j,m}

and trains each on the loss weighted by gamma. Here n_i pi_{i,m} weighs client i in the mean of
theta_m; ``weights='examples'`` takes n_i alone, as the authors' code does, which is for SGD: Adam
moves a learner at full speed however small its weights. New learners are fresh, as in the authors'
code: another adapter and a head that knows nothing. That code logs K* and trains a number of
learners that is written into it; here K* counts.

In a new slot the paper's pi starts equal (``start='equal'``). Where all inputs have changed, old
learners are surer of themselves and so more wrong than fresh ones, which then take everybody. So
by default a client's first gamma in a slot is 0.9 for the learner of its cluster: the one that most
clients with P_i^{t-1} in that cluster used, each cluster another, fresh ones for those left.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from models.schema import NamedArrays, Vector
from models.stacked import beside, stack
from models.time.slots import ONE_SLOT, Slots
from strategies import base
from strategies.aggregation.clusters.learners import (
    first_shares,
    fresh_learner,
    label_weights,
    match_clusters,
)
from strategies.aggregation.clusters.prototypes import choose_clusters, nearest_centre
from strategies.clusters.class_means import ASKED, class_means_schema, classes_of
from strategies.clusters.mixture import MeanOfLearners, Prototypes
from strategies.rounds.context import Instruction, RoundContext, Update


class FedDAAOptions(base.Options):
    """Options of `FedDAA`."""

    learners: Annotated[int, Field(ge=1, le=99, description="learners of the first slot")] = 2
    clusters: Annotated[
        int, Field(ge=0, le=99, description="learners of later slots; 0 = by the silhouette")
    ] = 0
    slot_rounds: Annotated[
        int, Field(ge=0, description="rounds a slot where no drift says so; 0 = one slot")
    ] = 0
    start: Annotated[
        Literal["clusters", "equal"],
        Field(description="a client's shares of the learners at a slot's start"),
    ] = "clusters"
    weights: Annotated[
        Literal["assigned", "examples"],
        Field(description="a client's weight in a learner's mean: its examples there, or all"),
    ] = "assigned"


class FedDAA(base.Strategy):
    """Several learners, as many as the prototypes have clusters; each client mixes them."""

    about: ClassVar[str] = "soft clusters that follow drift; old data kept unless P(y|x) changed"
    travels: ClassVar[str] = "all learners; C x C prototypes when a slot begins"
    has_global_model: ClassVar[bool] = False
    clusterable: ClassVar[bool] = False
    several_models: ClassVar[bool] = True
    needs_fresh: ClassVar[str] = "clients choose among the models of one round"
    needs_labels: ClassVar[bool] = True
    Options: ClassVar[type[base.Options]] = FedDAAOptions
    options: FedDAAOptions

    def initialise(self, arrays: NamedArrays) -> None:
        """Start with fresh learners beside the first, which is the common start."""
        super().initialise(arrays)
        self._first = arrays
        self._classes = classes_of(arrays.schema)
        self._learners: dict[int, NamedArrays] = {}
        self._next = self._slot = 0
        self._masses: dict[str, Vector] = {}
        self._keeps: dict[str, bool] = {}
        self._starts: dict[str, int] = {}
        self._told: dict[str, float] = {}
        self._payload: NamedArrays | None = None
        self._resize(self.options.learners)

    # ---- slots ---------------------------------------------------------------------------

    def _slots(self, context: RoundContext) -> Slots:
        if context.slots != ONE_SLOT:
            return context.slots
        return Slots(self.options.slot_rounds)

    def _opens_slot(self, context: RoundContext) -> bool:
        """Say whether a round is for prototypes: the first of a slot in which somebody answered."""
        return self._slots(context).of(context.round) > self._slot

    @property
    def reference(self) -> NamedArrays:
        """The oldest learner, by which all prototypes are made."""
        return self._learners[0]

    def _resize(self, count: int) -> None:
        """Add fresh learners, or let go of those least used; the reference stays."""
        used = dict(zip(self._learners, self._total().sum(axis=1), strict=True))
        spare = sorted((m for m in used if m), key=lambda m: (used[m], -m))
        for number in spare[: max(0, len(used) - count)]:
            del self._learners[number]
        while len(self._learners) < count:
            number, self._next = self._next, self._next + 1
            self._learners[number] = fresh_learner(self._first, number) if number else self._first
        self._masses, self._payload = {}, None

    def _adapt(self, answers: list[Update], context: RoundContext) -> None:
        """Open a slot: choose the number of learners, and find who met real drift."""
        self._slot = self._slots(context).of(context.round)
        self._keeps, self._starts = {}, {}
        prototypes = np.array([a.arrays["new"] for a in answers], np.float64)
        present = np.array([a.arrays["new-present"] for a in answers]) > 0.5
        found = choose_clusters(prototypes, present, self.options.clusters) if answers else None
        self._told = {}
        if found is None:  # too few answers to tell: nobody's old data are trusted
            self._resize(len(self._learners))
            return
        now, before = {}, {}
        for answer, new, known in zip(answers, prototypes, present, strict=True):
            old, was = answer.arrays["old"].astype(np.float64), answer.arrays["old-present"] > 0.5
            now[answer.client] = nearest_centre(new, known, found.centres)
            before[answer.client] = nearest_centre(old, was, found.centres)
        self._keeps = {client: now[client] == before[client] for client in now}
        used = self.assignment
        self._resize(len(found.centres))
        if self.options.start == "clusters":
            pairs = [(before[client], used[client]) for client in before if client in used]
            learner = match_clusters(pairs, len(found.centres), list(self._learners))
            self._starts = {client: learner[cluster] for client, cluster in now.items()}
        self._told = {f"silhouette/{k}": score for k, score in found.silhouettes.items()}
        self._told["real_drifts"] = float(sum(not stays for stays in self._keeps.values()))

    # ---- the hooks -----------------------------------------------------------------------

    def sample(self, context: RoundContext) -> Sequence[str]:
        """Ask everybody for prototypes; else draw the cohort."""
        return context.available if self._opens_slot(context) else super().sample(context)

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Ask for prototypes when a slot begins; else send all learners."""
        if self._opens_slot(context):
            return Instruction(self.reference, dict(ASKED), class_means_schema(self._classes))
        told: dict[str, str | bool] = {"trainer.keep-old": self._keeps.get(client, False)}
        if client in self._starts and client not in self._masses:
            place = list(self._learners).index(self._starts[client])
            told["trainer.first"] = _written(first_shares(len(self._learners), place))
        return self.instruct_evaluation(client, context).also(told)

    def instruct_evaluation(self, client: str, context: RoundContext) -> Instruction:
        """Send all learners, with the client's shares of them so far."""
        if self._payload is None:
            c = label_weights(self._total())
            self._payload = beside(stack(list(self._learners.values())), labels=c)
        told = {"trainer": "feddaa"}
        if client in self._masses:
            told["trainer.pi"] = _written(self._pi(client))
        return Instruction(self._payload, told)

    def begin(self, context: RoundContext) -> MeanOfLearners | Prototypes:
        """Open the round of its kind."""
        if self._opens_slot(context):
            return Prototypes()
        by_share = self.options.weights == "assigned"
        return MeanOfLearners(len(self._learners), self._first.schema.size, by_share, context)

    def conclude(self, aggregation: MeanOfLearners | Prototypes, context: RoundContext) -> None:
        """Open the slot, or take the means as the next learners."""
        if isinstance(aggregation, Prototypes):
            self._adapt(aggregation.in_order(context), context)
        else:
            for number, mean in zip(list(self._learners), aggregation.means, strict=True):
                self._learners[number] = mean.model(self._first.schema) or self._learners[number]
            self._masses.update(aggregation.masses)
            self._payload, self._told = None, {}
        self.arrays = self.reference

    @property
    def assignment(self) -> Mapping[str, int]:
        """The learner that has most of each client's data in this slot, or is to have."""
        numbers = list(self._learners)
        found = {client: numbers[int(np.argmax(self._pi(client)))] for client in self._masses}
        return {**self._starts, **found}

    @property
    def clustered_models(self) -> Mapping[int, NamedArrays]:
        """The learners, by number; none is used twice."""
        return dict(self._learners)

    def model_for(self, client: str) -> NamedArrays:
        """Return the learner that has most of the client's data; the reference where unknown."""
        return self._learners[self.assignment.get(client, 0)]

    def figures(self) -> Mapping[str, float]:
        """Return the learners there are, how many clients use each, and how the slot began."""
        where = list(self.assignment.values())
        shares = {f"clients/learner-{m}": float(where.count(m)) for m in self._learners}
        used = float(len(set(where)))
        return {"learners": float(len(self._learners)), "clusters": used, **shares, **self._told}

    def forget(self, client: str, server_round: int) -> None:
        """Drop what its labels were and whether its old data count."""
        self._masses.pop(client, None)
        self._keeps.pop(client, None)
        self._starts.pop(client, None)
        self._payload = None

    def state(self) -> base.State:
        """Return the learners, and what is known of each client in this slot."""
        learners = base.State({str(m): a.vector for m, a in self._learners.items()})
        masses = base.State({client: mass.ravel() for client, mass in self._masses.items()})
        values: dict[str, str | int | float | bool | None] = {
            "learners": json.dumps(list(self._learners)),
            "next": self._next,
            "slot": self._slot,
            "keeps": json.dumps(self._keeps),
            "starts": json.dumps(self._starts),
            "masses": json.dumps(list(self._masses)),
            "told": json.dumps(self._told),
        }
        return (
            base.State(values=values)
            | super().state()
            | learners.nested("learner")
            | masses.nested("masses")
        )

    def restore(self, state: base.State) -> None:
        """Take them back."""
        super().restore(state)
        kept, values = state.under("learner").arrays, state.values
        numbers = json.loads(str(values["learners"]))
        self._learners = {m: self._first.replace(kept[str(m)]) for m in numbers}
        masses, shape = state.under("masses").arrays, (len(numbers), self._classes)
        # In the order in which they came: their sum is the same to the bit.
        self._masses = {
            client: masses[client].reshape(shape) for client in json.loads(str(values["masses"]))
        }
        self._next, self._slot = int(values["next"] or 0), int(values["slot"] or 0)
        self._keeps = json.loads(str(values["keeps"]))
        self._starts = json.loads(str(values["starts"]))
        self._told = json.loads(str(values["told"]))
        self._payload = None

    # ---- what is known of clients --------------------------------------------------------

    def _pi(self, client: str) -> Vector:
        masses = self._masses[client]
        shares: Vector = masses.sum(axis=1) / masses.sum()
        return shares

    def _total(self) -> Vector:
        """Return the sum of all clients' masses, shape (M, C); equal ones while there are none."""
        shape = (len(self._learners), self._classes)
        return sum(self._masses.values(), np.zeros(shape)) if self._masses else np.ones(shape)


def _written(shares: Vector) -> str:
    return ",".join(repr(float(share)) for share in shares)
