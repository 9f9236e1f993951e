"""The contract of whole runs: what both halves of a method must keep to together.

A check takes the settings that name the method and an empty folder; it trains a very small model
on the embedded digits, in this process, for a few seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Error, Message

from fedbouquet.testing.bases import tiny_base
from fedbouquet.testing.runs import Config, Killed, kill_at, outcome, rounds, run_here, small

RunCheck = Callable[[Config, Path], None]


def a_killed_run_resumes_to_the_same_bits(settings: Config, folder: Path) -> None:
    """Nothing is only in memory: neither on the server nor with the clients.

    Two nodes answer two messages a round, so the eighth is cut off in the second round.
    """
    config = _config(settings, folder)
    whole = run_here(config, report=False)
    broken = {**config, "run-name": "broken"}
    try:
        run_here(broken, kill_at(8, "train", "evaluate"), report=False)
    except Killed:
        pass
    else:
        raise AssertionError("the run sent fewer than eight messages; take more rounds")
    assert outcome(run_here({**broken, "resume": True}, report=False)) == outcome(whole)


def packing_changes_nothing(settings: Config, folder: Path) -> None:
    """Clients that share a message train as those that travel alone."""
    config = _config(settings, folder)
    together = run_here(config, report=False)
    alone = run_here({**config, "run-name": "alone", "pack-bytes": 1}, report=False)
    assert outcome(alone) == outcome(together)


def a_rejected_reply_costs_only_its_client(settings: Config, folder: Path) -> None:
    """One client answers numbers that are none, another fails; the run goes on without them."""

    def spoil(message: Message, reply: Message) -> Message:
        node = message.metadata.dst_node_id
        if message.metadata.message_type != "train" or node not in (1001, 1002):
            return reply
        if node == 1002:
            return Message(Error(code=2, reason="no memory left"), reply_to=message)
        for name, record in reply.content.array_records.items():
            reply.content[name] = ArrayRecord({k: _spoiled(a) for k, a in record.items()})
        return reply

    config = {**_config(settings, folder), "clients-per-round": 0}
    last = rounds(run_here(config, spoil, nodes=4, report=False))[-1]
    lost = {rejection["client"] for rejection in last["rejected"]}
    assert lost == {"client-0001", "client-0002"}
    assert last["clients_answered"] == 2
    losses = [v for k, v in last.items() if k.startswith("client_loss")]
    assert losses
    assert all(map(math.isfinite, losses))


RUN_CHECKS: Mapping[str, RunCheck] = {
    check.__name__: check
    for check in (
        a_killed_run_resumes_to_the_same_bits,
        packing_changes_nothing,
        a_rejected_reply_costs_only_its_client,
    )
}


def _config(settings: Config, folder: Path) -> dict[str, str | int | float | bool]:
    """Return a run of three clients out of four, each with two classes."""
    return {
        **small(folder, tiny_base(folder / "base")),
        "state-dir": str(folder / "state"),
        "partition": "pathological",
        "partition-args": "classes-per-client=2",
        "clients-per-round": 3,
        "num-server-rounds": 2,
        "local-epochs": 1,
        **settings,
    }


def _spoiled(array: Array) -> Array:
    numbers = array.numpy()
    return Array(np.full_like(numbers, np.nan)) if numbers.dtype.kind == "f" else array
