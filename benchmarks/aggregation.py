"""LoRA aggregation at the size of a 7B model: 32 layers, q and v, d = 4096, rank 8, 100 clients.

An adapter is 4,194,304 numbers (16.8 MB). Clients are made one at a time from a seed, around a
common adapter; making them is not measured. Each rule runs in a process of its own.

Linear rules (one update held at a time): bytes of updates a second over the machine's copy
bandwidth, one thread's over buffers that no cache holds, measured before every update; medians, and
at least 0.3 is wanted. And the most memory in adapters, update and result included; at most 3 is
wanted.

Rules on products: seconds from the last update to the result (flexlora: at most 20 wanted), those
that all processors worked, and the peak of the process in adapters, which is that of holding every
client's factors. On a machine that others use, OMP_NUM_THREADS=1 keeps BLAS from waiting for
threads that do not run.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np

from models.randomness import derive_generator
from models.schema import ArraySpec, NamedArrays, Schema
from strategies.aggregation.lora.error import aggregation_error
from strategies.aggregation.lora.means import FactorMean, norm_weights
from strategies.aggregation.lora.product import ProductMean, deltas_of
from strategies.aggregation.lora.residual import residuals
from strategies.aggregation.lora.svd import randomised_svd, truncated_svd
from strategies.aggregation.mean import WeightedMean

WIDTH, RANK, LAYERS = 4096, 8, 32
SEED = 0
LINEAR = ("fedit", "ffa-lora", "hetlora")
Mean = WeightedMean | FactorMean
PRODUCTS = ("flora", "flexlora", "flexlora-randomised", "fedex-lora", "error")


def schema_of(factors: str = "AB") -> Schema:
    """Return the schema of q and v in every layer."""
    shapes = {"A": (RANK, WIDTH), "B": (WIDTH, RANK)}
    specs = [
        ArraySpec(f"layers.{layer:02d}.{name}.lora_{letter}.weight", shapes[letter])
        for layer in range(LAYERS)
        for name in ("q_proj", "v_proj")
        for letter in factors
    ]
    return Schema(tuple(specs), {"rank": RANK, "alpha": 16.0, "scaling": 16.0 / RANK})


def fill(vector: np.ndarray, client: int, common: np.ndarray) -> None:
    """Write one client's numbers, in float32 and without a second copy."""
    generator = derive_generator(SEED, "client", client)
    generator.standard_normal(out=vector, dtype=np.float32)
    vector *= 0.5
    vector += common


def updates(schema: Schema, clients: int) -> Iterator[tuple[NamedArrays, float]]:
    """Give the clients' adapters and weights one at a time."""
    common = derive_generator(SEED, "common").standard_normal(schema.size, dtype=np.float32)
    for client in range(clients):
        arrays = NamedArrays(schema, np.empty(schema.size, np.float32))
        fill(arrays.vector, client, common)
        yield arrays, 10.0 + client


class Copy:
    """Bytes copied a second over buffers of 256 MB, measured time and again."""

    def __init__(self) -> None:
        self._from, self._to = np.ones(1 << 26, np.float32), np.zeros(1 << 26, np.float32)
        self._seconds: list[float] = []

    def measure(self) -> None:
        """Copy once."""
        began = time.perf_counter()
        np.copyto(self._to, self._from)
        self._seconds.append(time.perf_counter() - began)

    def bandwidth(self) -> float:
        """Return the median so far."""
        return self._from.nbytes / statistics.median(self._seconds)


def adder(rule: str, schema: Schema) -> tuple[Mean, Callable[[NamedArrays, float], None]]:
    """Return an empty mean and how a rule adds one update to it."""
    if rule == "hetlora":
        padded = FactorMean(schema)
        return padded, lambda arrays, weight: padded.add(arrays, weight, norm_weights(arrays))
    plain = WeightedMean(schema.size)
    return plain, lambda arrays, weight: plain.add(arrays.vector, weight)


def finish(mean: Mean, schema: Schema) -> NamedArrays | None:
    """Return the mean as the next model."""
    return mean.result() if isinstance(mean, FactorMean) else mean.model(schema)


def linear(rule: str, clients: int) -> dict[str, float]:
    """Measure a rule that takes updates one by one."""
    schema = schema_of("B" if rule == "ffa-lora" else "AB")
    mean, add = adder(rule, schema)
    copy, seconds = Copy(), []
    for arrays, weight in updates(schema, clients):
        copy.measure()
        began = time.perf_counter()
        add(arrays, weight)
        seconds.append(time.perf_counter() - began)
    began = time.perf_counter()
    finish(mean, schema)
    last = time.perf_counter() - began
    rate = schema.size * 4 / (statistics.median(seconds) + last / clients)
    bandwidth = copy.bandwidth()
    return {"rate": rate, "copy": bandwidth, "ratio": rate / bandwidth, "peak": peak(rule, schema)}


def peak(rule: str, schema: Schema) -> float:
    """Return the most memory of three updates and the result, in adapters."""
    common = np.zeros(schema.size, np.float32)
    tracemalloc.start()
    mean, add = adder(rule, schema)
    arrays = NamedArrays(schema, np.empty(schema.size, np.float32))
    for client in range(3):
        fill(arrays.vector, client, common)
        add(arrays, 1.0)
    del arrays
    finish(mean, schema)
    return tracemalloc.get_traced_memory()[1] / (4 * schema.size)


def products(rule: str, clients: int) -> dict[str, float]:
    """Measure a rule that needs every client's factors."""
    schema = schema_of()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if rule == "fedex-lora":
        held = list(updates(schema, clients))
        began, worked = time.perf_counter(), time.process_time()
        mean = FactorMean(schema)
        for arrays, weight in held:
            mean.add(arrays, weight)
        middle = mean.result()
        assert middle is not None
        for _ in residuals(held, middle):
            pass
    else:
        gathered, means = ProductMean(schema), FactorMean(schema)
        for arrays, weight in updates(schema, clients):
            gathered.add(arrays, weight)
            means.add(arrays, weight)
        began, worked = time.perf_counter(), time.process_time()
        if rule == "error":
            middle = means.result()
            assert middle is not None
            aggregation_error(gathered.deltas(), deltas_of(middle))
        for layer, delta in gathered.deltas() if rule != "error" else ():
            if rule == "flexlora":
                truncated_svd(delta, RANK).factors(2.0)
            elif rule == "flexlora-randomised":
                randomised_svd(delta, RANK, derive_generator(SEED, layer)).factors(2.0)
    seconds, work = time.perf_counter() - began, time.process_time() - worked
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": seconds, "work": work, "peak": grown * 1024 / (4 * schema.size)}


def main() -> None:
    """Measure every rule and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--rules", nargs="+", choices=LINEAR + PRODUCTS, default=LINEAR + PRODUCTS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure = linear if options.one in LINEAR else products
        print(json.dumps(measure(options.one, options.clients)))
        return
    for rule in options.rules:
        command = [sys.executable, __file__, "--one", rule, "--clients", str(options.clients)]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = json.loads(out.splitlines()[-1])
        if rule in LINEAR:
            rates = f"{found['rate'] / 1e9:.2f} GB/s of {found['copy'] / 1e9:.2f} GB/s copied"
            print(f"{rule:>20}: {rates}, ratio {found['ratio']:.2f}; peak {found['peak']:.1f}")
        else:
            spent = f"{found['seconds']:.1f} s, {found['work']:.1f} s of processors"
            print(f"{rule:>20}: {spent}; peak {found['peak']:.0f}")


if __name__ == "__main__":
    main()
