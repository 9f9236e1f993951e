"""The server's peak memory against the clients of a round: it must not grow with them.

A round of FedAvg over adapters of 3,000,000 numbers (12 MB), with clients that answer at once; the
server side is the real one: packing, flow control, screening, accumulation. Each size runs in a
process of its own; printed is the growth of the peak over what the process needed before round 1.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys

import numpy as np

NUMBERS = 3_000_000


def run(clients: int) -> float:
    """Run one round and return the peak's growth in MB."""
    from flwr.app import ConfigRecord, Context, Message, RecordDict
    from flwr.clientapp import ClientApp

    from fedbouquet import ClientGrid, FedAvg, LoopOptions, RoundLoop
    from fedbouquet.testing import LocalGrid
    from models.messages import PackHeader, pack_results
    from models.results import ClientResult
    from models.schema import ArraySpec, NamedArrays, Schema
    from strategies.transport.hello import Registrar
    from strategies.transport.preparation import Preparation

    schema = Schema((ArraySpec("w", (NUMBERS,)),), {})
    app = ClientApp()

    def answer(message: Message, content: dict[str, object]) -> Message:
        record = ConfigRecord({"answer": json.dumps(content)})
        return Message(RecordDict({"config": record}), reply_to=message)

    @app.query("hello")
    def hello(message: Message, context: Context) -> Message:
        first = int(context.node_config["first"])
        cards = [
            {"client": f"c-{i}", "examples": 10, "test_examples": 1, "kind": "text", "labels": []}
            for i in range(first, clients, 2)
        ]
        about = {"clients": cards, "base": "b", "code": "x", "persistent": True, "workers": 1}
        return answer(message, about)

    @app.query("prepare")
    def prepare(message: Message, context: Context) -> Message:
        return answer(message, {"base": "b"})

    @app.train()
    def train(message: Message, context: Context) -> Message:
        request = PackHeader.from_content(message.content).open({schema.hash: schema})
        done = [
            ClientResult(client, 10, {}, {}, NamedArrays(schema, request.of(i)[0].vector + 1))
            for i, client in enumerate(request.clients)
        ]
        return Message(pack_results(done, request.wire, request.server_round), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        request = PackHeader.from_content(message.content)
        done = [ClientResult(client, 1, {"accuracy": 1.0}) for client in request.clients]
        return Message(pack_results(done, request.wire, request.server_round), reply_to=message)

    registrar = Registrar(LocalGrid(app, [{"first": 0}, {"first": 1}]), {}, "x")
    registrar.gather(clients)
    registrar.prepare(Preparation("{}", "p", "b"))
    grid = ClientGrid(registrar.grid, registrar, schema)
    loop = RoundLoop(FedAvg(), grid, LoopOptions(1, evaluate_every=0))
    loop.start(NamedArrays(schema, np.zeros(NUMBERS, np.float32)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    records = list(loop.rounds())
    if records[-1].clients_answered != clients:
        sys.exit(f"only {records[-1].clients_answered} of {clients} answered")
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    """Measure both sizes and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(run(options.one))
        return
    grown = []
    for clients in options.clients:
        command = [sys.executable, __file__, "--one", str(clients)]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        grown.append(float(out.strip().splitlines()[-1]))
        print(f"{clients:>6} clients: peak {grown[-1]:.0f} MB above the start")
    print(f"ratio {grown[-1] / grown[0]:.2f}")


if __name__ == "__main__":
    main()
