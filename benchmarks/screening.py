"""What the gate costs: 100 replies of an adapter of 3,000,000 numbers, decoded and accumulated.

Printed are medians over several runs on one thread, of three ways from what has arrived to the
weighted sum:

* plain: Flower's own decoding (``Array.numpy``) and accumulation, nothing checked;
* ours: the pack read, screened and accumulated;
* ours without the gate: the pack read and accumulated.

``ours / plain`` is what a server pays for being screened: at most 1.05 is wanted. The gate reads
update and start once each (24 MB), which memory alone makes about a fifth of plain; that is also
printed. Reading without a copy is what pays for it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from flwr.app import RecordDict

from models.messages import pack_results, unpack_results
from models.results import ClientResult
from models.schema import ArraySpec, NamedArrays, Schema
from strategies.aggregation.mean import WeightedMean
from strategies.transport.exchange import Reply
from strategies.transport.screening import Asked, Gate

NUMBERS, ARRAYS = 3_000_000, 48
SCHEMA = Schema(tuple(ArraySpec(f"layer-{i:02d}", (NUMBERS // ARRAYS,)) for i in range(ARRAYS)))
DIFFERENT = 4  # more than a processor's cache holds


def plain(content: RecordDict, _: NamedArrays, mean: WeightedMean) -> None:
    """Decode as Flower does, check nothing."""
    (record,) = content.array_records.values()
    mean.add(record["flat"].numpy()[0], 10.0)


def ungated(content: RecordDict, _: NamedArrays, mean: WeightedMean) -> None:
    """Decode as we do, without the pass over the numbers."""
    result = unpack_results(content, ("c",), {"c": SCHEMA}, 1).results["c"]
    if result.arrays is not None:
        mean.add(result.arrays.vector, 10.0)


def gated() -> Callable[[RecordDict, NamedArrays, WeightedMean], None]:
    """Decode, screen and accumulate as the server does."""
    gate = Gate()
    gate.open_round(1)

    def way(content: RecordDict, start: NamedArrays, mean: WeightedMean) -> None:
        result = unpack_results(content, ("c",), {"c": SCHEMA}, 1).results["c"]
        reply = gate.admit(result, Asked("c", "train", 1, start, declared=10))
        if isinstance(reply, Reply) and reply.arrays is not None:
            mean.add(reply.arrays.vector, reply.num_examples)

    return way


def main() -> None:
    """Measure the three ways in turn and print their medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replies", type=int, default=100)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    start = NamedArrays(SCHEMA, generator.normal(size=NUMBERS).astype(np.float32))
    contents = []
    for _ in range(DIFFERENT):
        change = generator.normal(scale=0.01, size=NUMBERS).astype(np.float32)
        result = ClientResult("c", 10, arrays=NamedArrays(SCHEMA, start.vector + change))
        contents.append(pack_results([result], "float32", 1))
    ways = {"plain": plain, "ours": gated(), "ours without the gate": ungated}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.runs):
        for name, way in ways.items():
            mean = WeightedMean(NUMBERS)
            began = time.perf_counter()
            for number in range(options.replies):
                way(contents[number % DIFFERENT], start, mean)
            seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    for name, found in medians.items():
        print(f"{name:>22}: {1e3 * found / options.replies:6.2f} ms a reply")
    print(f"ours / plain: {medians['ours'] / medians['plain']:.2f}")
    gate = medians["ours"] - medians["ours without the gate"]
    print(f"the gate alone / plain: {gate / medians['plain']:.2f}")


if __name__ == "__main__":
    main()
