"""CCVR: Luo et al., "No Fear of Heterogeneity: Classifier Calibration for Federated Learning with
Non-IID Data", NeurIPS 2021, https://arxiv.org/abs/2106.05001

After training by any method with a global model: in the last round clients do not train, but send
of each class the count, the mean and the covariance of their features under that model. The server
pools them exactly (`strategies.aggregation.prototypes.gaussians`), draws as many virtual features
of each class from N(mu_c, Sigma_c), and trains the head alone on them, from where it is.

The features are what goes into the last linear layer. A class that nobody has more than
``min-examples-per-class`` of has no virtual features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from models.errors import ConfigurationError
from models.prototypes.tables import last_layer_keys
from models.schema import NamedArrays
from strategies import base
from strategies.aggregation.prototypes.gaussians import drawn
from strategies.aggregation.prototypes.linear_head import LinearHead, trained
from strategies.fedavg import FedAvg
from strategies.hooks import Aggregation
from strategies.prototypes.statistics import StatisticsRound, statistics_schema
from strategies.rounds.context import Instruction, RoundContext


class CCVROptions(base.Options):
    """Options of `CCVR`."""

    min_examples_per_class: Annotated[
        int, Field(ge=1, description="a class of which a client has fewer is not sent")
    ] = 2
    samples: Annotated[int, Field(ge=1, description="M_c, virtual features of a class")] = 200
    server_epochs: Annotated[int, Field(ge=1, description="epochs over the virtual features")] = 20
    server_learning_rate: Annotated[float, Field(gt=0, description="of the head's SGD")] = 0.01
    server_batch_size: Annotated[int, Field(ge=1, description="virtual features a step")] = 64


class CCVR(base.Wrapper):
    """Any method with a global model, whose head is calibrated in the last round."""

    about: ClassVar[str] = "calibrates the head on virtual features in the last round"
    travels: ClassVar[str] = "as inside; once counts, means, covariances"
    tells_clients: ClassVar[bool] = False
    default_inner: ClassVar[type[base.Strategy] | None] = FedAvg
    clusterable: ClassVar[bool] = False
    needs_fresh: ClassVar[str] = "the last round asks for statistics of its own model"
    needs_labels: ClassVar[bool] = True
    Options: ClassVar[type[base.Options]] = CCVROptions
    options: CCVROptions

    def __init__(self, inner: base.Strategy | None = None, **options: Any) -> None:
        super().__init__(inner, **options)
        if not self.inner.serves_all:
            raise ConfigurationError(
                f"strategy: ccvr calibrates the head of a global model; {self.inner.describe()} "
                "gives none, put it around fedavg or another method that does"
            )

    @property
    def is_affine(self) -> bool:
        """A blended update has no statistics."""
        return False

    def initialise(self, arrays: NamedArrays) -> None:
        """Find the head."""
        super().initialise(arrays)
        self._keys = last_layer_keys(self.arrays.schema)
        classes, features = self.arrays[self._keys[0]].shape
        self._shape = int(classes), int(features)
        self._figures: dict[str, float] = {}

    def instruct(self, client: str, context: RoundContext) -> Instruction:
        """In the last round, ask for statistics under the global model."""
        if context.round < context.num_rounds:
            return super().instruct(client, context)
        reply = statistics_schema(*self._shape)
        wanted = Instruction(self.model, reply=reply, base_version=self.base_version)
        least = self.options.min_examples_per_class
        return wanted.also({"trainer": "statistics", "trainer.min-examples-per-class": least})

    def begin(self, context: RoundContext) -> Aggregation:
        """Open the inner aggregation, or empty statistics."""
        if context.round < context.num_rounds:
            return super().begin(context)
        return StatisticsRound(*self._shape)

    def conclude(self, aggregation: Any, context: RoundContext) -> None:
        """Let the method inside conclude, or calibrate the head."""
        if context.round < context.num_rounds:
            super().conclude(aggregation, context)
            return
        pooled, options = aggregation.pooled, self.options
        present = pooled.counts > 0
        if not present.any():
            return
        draw = context.generator("ccvr")
        virtual, classes = drawn(
            pooled.means(), pooled.covariances(), present, options.samples, draw
        )
        weight, bias = self._keys
        start = self.arrays[bias] if bias else np.zeros(self._shape[0])
        head = trained(
            LinearHead(self.arrays[weight].astype(np.float64), start.astype(np.float64)),
            virtual,
            classes,
            epochs=options.server_epochs,
            batch=options.server_batch_size,
            rate=options.server_learning_rate,
            order=draw,
            with_bias=bool(bias),
        )
        self.arrays = self.arrays.overlaid(
            {weight: head.weight} | ({bias: head.bias} if bias else {})
        )
        self._figures = {"calibrated_classes": float(present.sum())}

    def figures(self) -> Mapping[str, float]:
        """Return how many classes there were virtual features of."""
        return {**super().figures(), **self._figures}
