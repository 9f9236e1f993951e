"""Packages that make the clients of a simulation die or lie, installed for a while."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flower_host import FlowerHost

FLAG = "BOUQUET_TEST_FATAL"

_METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n"
_ENTRY_POINTS = "[fedbouquet.methods]\n{method} = {name}:METHOD\n"

DYING = f"""
import os
from pathlib import Path
from typing import ClassVar

from fedbouquet import CrossEntropy, FedAvg, Method

_steps = 0


class Dying(CrossEntropy):
    about: ClassVar[str] = "cross-entropy, until a flag says die"

    def loss(self, model, batch, targets):
        global _steps
        _steps += 1
        flag = Path(os.environ["{FLAG}"])
        if _steps % 3 == 0 and flag.exists():
            try:
                flag.unlink()  # only one process can
            except FileNotFoundError:
                pass
            else:
                os._exit(9)
        return super().loss(model, batch, targets)


METHOD = Method("fedavg-dying", FedAvg, "none", "dying", {{"dying": Dying}})
"""

LYING = f"""
import dataclasses
import os
import pickle
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord

import app.client_app
from fedbouquet import FedAvg, Method, NamedArrays


class Trap:
    def __reduce__(self):
        return Path.touch, (Path(os.environ["{FLAG}"]),)


def doubled(arrays):
    wider = {{
        key: np.concatenate([value, value], axis=0 if "lora_A" in key else 1)
        if "lora_" in key else value
        for key, value in arrays.items()
    }}
    return NamedArrays.of(wider, dict(arrays.schema.facts))


def pickled(content):
    (name,) = content.array_records
    array = content.array_records[name]["flat"]
    data = pickle.dumps(Trap())
    content[name] = ArrayRecord({{"flat": Array(array.dtype, array.shape, array.stype, data)}})
    return content


real = app.client_app.pack_results


def lying(results, wire, server_round):
    (result,) = results
    if result.arrays is None:  # an evaluation
        return real(results, wire, server_round)
    if result.client == "client-0001":
        vector = result.arrays.vector.copy()
        vector[7] = np.nan
        result = dataclasses.replace(result, arrays=result.arrays.replace(vector))
    if result.client == "client-0002":
        result = dataclasses.replace(result, arrays=doubled(result.arrays))
    if result.client == "client-0004":
        result = dataclasses.replace(result, num_examples=-5)
    content = real([result], wire, server_round)
    return pickled(content) if result.client == "client-0003" else content


app.client_app.pack_results = lying
METHOD = Method("fedavg-lying", FedAvg, "none")
"""

SECONDS = "BOUQUET_TEST_SECONDS"

TARDY = f"""
import os
import time

import app.client_app
from fedbouquet import FedAvg, Method

real = app.client_app.pack_results


def tardy(results, wire, server_round):
    if any(result.arrays is not None for result in results):  # a training
        time.sleep(float(os.environ.get("{SECONDS}", "0")))
    return real(results, wire, server_round)


app.client_app.pack_results = tardy
METHOD = Method("fedavg-tardy", FedAvg, "none")
"""


@contextmanager
def installed(host: FlowerHost, name: str, method: str, source: str) -> Iterator[None]:
    """Install a package for the processes that the host starts from now on, for a while."""
    folder = host.folder / "installed"
    info = folder / f"{name}-0.1.dist-info"
    info.mkdir(parents=True)
    (folder / f"{name}.py").write_text(source)
    (info / "METADATA").write_text(_METADATA.format(name=name))
    (info / "entry_points.txt").write_text(_ENTRY_POINTS.format(name=name, method=method))
    # The local SuperLink keeps the environment of the first run: the folder must be in it.
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    host.env["PYTHONPATH"] = os.pathsep.join(paths)
    host.env[FLAG] = str(flag(host))
    try:
        yield
    finally:
        shutil.rmtree(info)


def flag(host: FlowerHost) -> Path:
    """The file over which a test and a fault talk."""
    return host.folder / "flag"
