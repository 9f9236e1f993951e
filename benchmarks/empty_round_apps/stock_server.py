"""Flower's FedAvg with two nodes, training only."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()
NUMBERS = 1000


@app.main()
def main(grid: Grid, context: Context) -> None:
    marks = []

    def mark(server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
        marks.append(time.monotonic())
        return None

    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=2, min_available_nodes=2)
    strategy.start(
        grid,
        ArrayRecord([np.zeros(NUMBERS, np.float32)]),
        # Round 1 is the warm-up: nodes fetch the app.
        num_rounds=int(context.run_config["rounds"]) + 1,
        evaluate_fn=mark,
    )
    seconds = [b - a for a, b in itertools.pairwise(marks)][1:]
    Path(str(context.run_config["out"])).write_text(json.dumps({"rounds": seconds}))
