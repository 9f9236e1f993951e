"""Our server half: hello, then rounds of `RoundLoop` over a `ClientGrid`; nothing else."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from empty_schema import NUMBERS, SCHEMA
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from app.places import code_hash
from clients.data.spec import DataSpec
from fedbouquet import ClientGrid, FedAvg, LoopOptions, NamedArrays, RoundLoop
from models.bases.variants import TINY_VIT
from strategies.transport.hello import Registrar

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    rounds = int(context.run_config["rounds"])
    told = {"data": DataSpec().to_json(), "model": TINY_VIT, "state-dir": ""}
    registrar = Registrar(grid, told, code_hash())
    began = time.monotonic()
    registrar.gather(2)
    hello = time.monotonic() - began
    loop = RoundLoop(
        FedAvg(), ClientGrid(grid, registrar, SCHEMA), LoopOptions(rounds + 1, evaluate_every=0)
    )
    loop.start(NamedArrays(SCHEMA, np.zeros(NUMBERS, np.float32)))
    seconds = []
    # Round 0 asks for evaluations only and stands for the warm-up; the last would evaluate too.
    for record in loop.rounds():
        if record.round:
            assert record.clients_answered == 2, record
            seconds.append(record.seconds)
        if record.round == rounds:
            break
    told_back = json.dumps({"hello": hello, "rounds": seconds})
    Path(str(context.run_config["out"])).write_text(told_back)
