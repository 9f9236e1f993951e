"""Gradient inversion: Wang and Gao, "Tackling Intertwined Data and Device Heterogeneities in
Federated Learning with Unlimited Staleness", 2023, https://arxiv.org/abs/2309.13536

A stale update is turned into a fresh one by data that would have given it:

    D_rec = arg min_D  Disp[ LocalUpdate(w^{t-tau}; D), w_i^{t-tau} ]      inputs and soft labels
    w_i^t ~ LocalUpdate(w^t; D_rec)                                        goes in as fresh

It is an attack used as a tool: off unless it is named, and nothing of D_rec is ever shown. The
client's next update, from a start s, says what the truth was there; once the conversion is further
from it than the raw stale update was, that client's updates stay as they are, and D_rec is dropped:

    E1 = Disp[ LocalUpdate(s; D_rec), w_i^s ]  >  E2 = Disp[ w_i^{t-tau}, w_i^s ]      per client

The authors' switch looks at the client's true update in the same round, which no server has; theirs
is for all clients at once, and each here has its own. In their ``fixed.py`` a later branch
overwrites the converted update by the stale one, the switch has the other sign, and the steps on
D_rec take binary cross-entropy with unnormalised labels; here it is as above. Disp is the L1 norm
there, over what each changed from its start. LocalUpdate takes K steps of SGD on all of D_rec.

A search begins where the client's last one ended. What it leaves as far from the update as no
update at all would be is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from models.errors import BouquetError, ConfigurationError
from models.inversion.training import ClientTraining, Search
from models.randomness import derive_generator
from models.schema import NamedArrays
from strategies import base
from strategies.asynchronous.fedbuff import FedBuff
from strategies.asynchronous.inversions import Download, Inversions
from strategies.hooks import Aggregation
from strategies.rounds.context import Instruction, RoundContext, Update
from strategies.rounds.late.rebasing import rebased


class GradientInversionOptions(base.Options):
    """Options of `GradientInversion`."""

    least_staleness: Annotated[
        int, Field(ge=1, description="rounds; what is less stale is handed on as it is")
    ] = 1
    images: Annotated[int, Field(ge=1, description="inputs in D_rec (the authors: 256)")] = 16
    iterations: Annotated[
        int, Field(ge=1, description="of a client's first search (the authors: 40,000)")
    ] = 200
    warm_iterations: Annotated[
        int, Field(ge=1, description="of a search that begins where the last one ended")
    ] = 50
    rate: Annotated[float, Field(gt=0, description="learning rate of a search")] = 0.3
    distance: Annotated[
        Literal["l1", "cosine"], Field(description="between update and recovered update")
    ] = "l1"
    share: Annotated[
        float, Field(gt=0, le=1, description="share of the update that is compared, the largest")
    ] = 1.0
    signed: Annotated[bool, Field(description="only the signs of the inputs' gradient count")] = (
        True
    )
    unrolled_steps: Annotated[
        int, Field(ge=1, description="most steps K; a client's more are taken as fewer, longer")
    ] = 5
    max_numbers: Annotated[
        int, Field(ge=1, description="most trainable numbers; beyond it is refused")
    ] = 200_000
    max_input: Annotated[
        int, Field(ge=1, description="most numbers of an input; beyond it is refused")
    ] = 12_288

    def search(self, *, warm: bool) -> Search:
        """Return how data are sought."""
        iterations = self.warm_iterations if warm else self.iterations
        return Search(iterations, self.rate, self.distance, self.share, self.signed)


class Converting:
    """The inner aggregation, which gets stale updates as fresh ones."""

    def __init__(self, owner: GradientInversion, context: RoundContext) -> None:
        self._owner = owner
        self._context = context
        self.inside = owner.inner.begin(context)
        self.fits: list[float] = []
        self.stale = 0

    def add(self, update: Update) -> None:
        """Hand one update on."""
        handed, fit = self._owner.converted(update, self._context)
        self.inside.add(handed)
        if fit is not None:
            self.fits.append(fit)
        self.stale += fit is None and update.staleness > 0

    def merge(self, other: Self) -> None:
        """Take in another node's stream."""
        self.inside.merge(other.inside)
        self.fits += other.fits
        self.stale += other.stale

    def figures(self) -> dict[str, float]:
        """Return the round's counts, and the mean fit of what was converted."""
        counts = {"converted": len(self.fits), "left_stale": self.stale}
        found = {name: float(count) for name, count in counts.items()}
        found["switched_back"] = float(self._owner.switched)
        return found | ({"inversion_fit": float(np.mean(sorted(self.fits)))} if self.fits else {})


class GradientInversion(base.Wrapper):
    """Any method for stale updates, which sees them as fresh ones."""

    about: ClassVar[str] = "makes stale updates fresh by rebuilding data: an attack, as a tool"
    tells_clients: ClassVar[bool] = False
    clusterable: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True
    needs_client_training: ClassVar[bool] = True
    reads_start: ClassVar[bool] = True
    default_inner: ClassVar[type[base.Strategy] | None] = FedBuff
    Options: ClassVar[type[base.Options]] = GradientInversionOptions
    options: GradientInversionOptions

    def __init__(self, inner: base.Strategy | None = None, **options: Any) -> None:
        super().__init__(inner, **options)
        self._training: ClientTraining | None = None

    @property
    def takes_ranks(self) -> bool:
        """No: one adapter is followed."""
        return False

    @property
    def takes_models(self) -> bool:
        """No: one model is followed."""
        return False

    @property
    def needs_model(self) -> bool:
        """Yes: it trains it."""
        return True

    @property
    def is_affine(self) -> bool:
        """No: updates have to come with their age, from no blend."""
        return False

    def lend(self, training: ClientTraining) -> None:
        """Take the clients' training; refuse a model for which a search would take too long."""
        options, errors = self.options, []
        if training.schema.size > options.max_numbers:
            errors.append(
                f"strategy: gradient-inversion differentiates through the clients' training, and "
                f"{training.schema.size} trainable numbers are more than max-numbers = "
                f"{options.max_numbers}; train fewer (adapter = 'head'), or raise max-numbers"
            )
        if training.input_size > options.max_input:
            errors.append(
                f"strategy: gradient-inversion rebuilds inputs, and {training.input_size} numbers "
                f"of one are more than max-input = {options.max_input}; take smaller images, or "
                "raise max-input"
            )
        if errors:
            raise ConfigurationError(errors)
        self._training = training

    def initialise(self, arrays: NamedArrays) -> None:
        """Begin with nothing known of anybody."""
        super().initialise(arrays)
        self._figures: dict[str, float] = {}
        self._inversions: Inversions | None = None
        if self._training is None:
            return
        if self.arrays.schema != self._training.schema:
            raise ConfigurationError(
                f"strategy: gradient-inversion follows the training of the whole adapter, of which "
                f"{self.inner.describe()} averages a part; take fedbuff inside"
            )
        options = self.options
        searches = options.search(warm=False), options.search(warm=True)
        self._inversions = Inversions(self._training, options.images, *searches)

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """Refuse what the server could not follow."""
        told = super().instruct(client, context)
        if told.config or told.reply:
            raise ConfigurationError(
                f"strategy: gradient-inversion cannot go around {self.inner.describe()}, whose "
                "clients train in their own way; take fedbuff, fedasync or fedfix inside"
            )
        return told

    def begin(self, context: RoundContext) -> Aggregation:
        """Open the inner aggregation."""
        return Converting(self, context)

    def conclude(self, aggregation: Any, context: RoundContext) -> None:
        """Let the method inside conclude."""
        super().conclude(aggregation.inside, context)
        self._figures = aggregation.figures()

    def converted(self, update: Update, context: RoundContext) -> tuple[Update, float | None]:
        """Return an update as the rule inside is to see it, and how well D_rec gives it.

        w^t + (LocalUpdate(w^t; D_rec) - w^t) where it is stale; the update itself where it is
        fresh, or D_rec is of no use: then without a fit.
        """
        if update.num_examples == 0:
            return self._as_it_is(update, context), None
        if self._training is None or self._inversions is None:
            if update.staleness == 0:
                return update, None
            raise BouquetError(
                "gradient-inversion needs the clients' training on the server: start it by "
                "'bouquet run', or lend() it a ClientTraining before start()"
            )
        client, start = update.client, update.start or self.arrays
        examples = int(context.shares.examples(client, update.num_examples))
        most = self.options.unrolled_steps
        pace = self._training.pace(examples, update.base_round).capped(most)
        came = Download(start.vector, update.arrays.vector - start.vector, pace)
        self._inversions.compare(client, came)
        if update.staleness < self.options.least_staleness:
            return self._as_it_is(update, context), None
        draw = derive_generator(context.seed, context.round, client, "gradient-inversion")
        found = self._inversions.recovered(client, came, draw)
        if found is None:
            return self._as_it_is(update, context), None
        now = self.inner.instruct(client, context).arrays
        pace = self._training.pace(examples, context.round).capped(most)
        arrays = now.replace(now.vector + self._training.update(now.vector, found[0], pace))
        fresh = replace(update, arrays=arrays, start=now, staleness=0, base_round=context.round)
        return fresh, found[1]

    def _as_it_is(self, update: Update, context: RoundContext) -> Update:
        """Return an update as the rule inside would get it without this one around it."""
        if update.staleness == 0 or self.inner.wants_start or update.start is None:
            return update
        now = self.inner.instruct(update.client, context).arrays
        return replace(update, arrays=rebased(update.arrays, update.start, now, self.arrays))

    @property
    def switched(self) -> int:
        """How many clients' updates are not converted any more."""
        return len(self._inversions.switched) if self._inversions else 0

    def figures(self) -> Mapping[str, float]:
        """Return how many updates were converted, or stayed stale, and how well D_rec fits."""
        return {**super().figures(), **self._figures}

    def forget(self, client: str, server_round: int) -> None:
        """Let go of a client's D_rec."""
        super().forget(client, server_round)
        if self._inversions is not None:
            self._inversions.forget(client)

    def state(self) -> base.State:
        """Return every D_rec beside the inner state."""
        own = self._inversions.state() if self._inversions else base.State()
        return own | super().state()

    def restore(self, state: base.State) -> None:
        """Take both back."""
        if self._inversions is not None:
            self._inversions.restore(state.beside("inner"))
        super().restore(state)
