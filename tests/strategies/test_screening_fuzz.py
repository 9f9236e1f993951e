"""Mutants of valid replies: nothing uncaught, nothing illegal accepted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hostile_clients import BAD, EXAMPLES, SCHEMA, encoded, packed, plain, start

from strategies.aggregation.mean import weighted_mean
from strategies.rounds.record import summarise_clients, summarise_groups
from strategies.transport.exchange import Action, Exchange, Rejection, Reply, Request

Draw = np.random.Generator
ODD = (
    None, True, -1, 0, 1, 7, 12, 10**9, 1e18, 1e308, -0.0, math.nan, math.inf, 10**40, -(10**40),
    "", "x", "c-0", "c-1", "c-3", SCHEMA.hash, [], [1], ["a", "b"], [[]], {}, {"a": 1},
    {"sex": {"f": [1, 2]}}, {"groups": {"sex": {"f": [2, 1]}}},
)  # fmt: skip
DTYPES = ("float16", "float64", "int32", "complex64", "object", "bool", "", "<f4", "float32,", "V8")
TOKENS = (b"<f4", b">f4", b"<f8", b"|O", b"True", b"(1,", b"(-1", b"(10**9,", b"))", b"\n", b"\x00")


def some(draw: Draw, items: list[str]) -> str:
    return items[int(draw.integers(len(items)))]


def odd(draw: Draw) -> object:
    return ODD[int(draw.integers(len(ODD)))]


def mangle(draw: Draw, data: bytes) -> bytes:
    """Flip bits, cut, lengthen, overwrite, or write a token into the header."""
    mutable = bytearray(data)
    kind = int(draw.integers(6))
    place = int(draw.integers(max(1, len(mutable))))
    if kind == 0:
        for at in draw.integers(len(mutable) or 1, size=int(draw.integers(1, 5))):
            if mutable:
                mutable[at] ^= 1 << int(draw.integers(8))
    elif kind == 1:
        del mutable[place:]
    elif kind == 2:
        mutable[place:place] = draw.bytes(int(draw.integers(1, 200)))
    elif kind == 3:
        mutable[place : place + 4] = draw.bytes(4)
    elif kind == 4:
        token = TOKENS[int(draw.integers(len(TOKENS)))]
        at = min(place, 127) % 128
        mutable[at : at + len(token)] = token
    else:
        mutable[place : place + 4] = np.float32([np.nan, np.inf, 3e38][int(draw.integers(3))]).data
    return bytes(mutable)


def mutate_array(draw: Draw, array: Array) -> Array:
    kind = int(draw.integers(5))
    if kind <= 1:
        return encoded(array, data=mangle(draw, array.data))
    if kind == 2:
        return encoded(array, dtype=DTYPES[int(draw.integers(len(DTYPES)))])
    if kind == 3:
        shape = list(array.shape)
        shape.insert(int(draw.integers(len(shape) + 1)), int(draw.integers(-1, 3)) ** 9)
        return encoded(array, shape=tuple(shape[: int(draw.integers(4))]))
    return encoded(array, stype=("", "pickle", "numpy.ndarray ")[int(draw.integers(3))])


def mutate_json(draw: Draw, text: str) -> str:
    """Replace one value anywhere in the JSON, drop it, or spoil the text."""
    if draw.random() < 0.2:
        return mangle(draw, text.encode()).decode("latin-1")
    value = json.loads(text)
    spots: list[tuple[object, object]] = []

    def walk(node: object) -> None:
        pairs = node.items() if isinstance(node, dict) else enumerate(node)  # type: ignore[arg-type]
        for key, child in list(pairs):
            spots.append((node, key))
            if isinstance(child, dict | list):
                walk(child)

    walk(value)
    if not spots:
        return json.dumps(odd(draw))
    node, key = spots[int(draw.integers(len(spots)))]
    if draw.random() < 0.2:
        node, key = next((s for s in spots if s[1] == "num-examples"), (node, key))
    if draw.random() < 0.2:
        del node[key]  # type: ignore[attr-defined]
    elif isinstance(node, list) and draw.random() < 0.3:
        node.append(node[0])
    else:
        node[key] = odd(draw)  # type: ignore[index]
    return json.dumps(value)


def mutate(draw: Draw, content: RecordDict) -> RecordDict:
    name = some(draw, sorted(content))
    record = content[name]
    kind = draw.random()
    if kind < 0.05:
        del content[name]
    elif kind < 0.1:
        content[f"{name}x"] = record
    elif kind < 0.15:
        content[name] = (ConfigRecord(), MetricRecord(), ArrayRecord({}))[int(draw.integers(3))]
    elif not record:
        content["config"] = ConfigRecord({"results": "[]"})
    else:
        key = some(draw, sorted(record))
        if draw.random() < 0.05:
            record[f"{key}x"] = record.pop(key)
        elif isinstance(record, ArrayRecord):
            record[key] = mutate_array(draw, record[key])
        elif isinstance(record, ConfigRecord) and isinstance(record[key], str):
            record[key] = mutate_json(draw, str(record[key]) or "[]")
        else:
            record.__dict__["_data"][key] = odd(draw)  # below Flower's own checks
    return content


class Mutator:
    """Spoils each answer of the bad client in another way."""

    def __init__(self) -> None:
        self.draw = np.random.default_rng(0)

    def __call__(self, content: RecordDict) -> RecordDict:
        # An answer shares its arrays with nobody, but the records are changed in place.
        for _ in range(int(self.draw.integers(1, 4))):
            try:
                content = mutate(self.draw, content)
            except (TypeError, ValueError, AttributeError, IndexError):
                continue  # what Flower's records refuse cannot be sent
        return content


def exchanged(exchange: Exchange, action: Action) -> list[Reply | Rejection]:
    begin = start()

    def build(client: str) -> Request:
        return Request(client, begin)

    ids = exchange.roster.ids
    return list(exchange.exchange(action, ids, build, server_round=1, timeout=0.0))


def check(items: list[Reply | Rejection], clean: list[Reply | Rejection], stock: bool) -> bool:
    """Check everything that must hold; return whether the mutant was accepted as it was."""
    assert [i.client for i in items if isinstance(i, Reply)] == list(
        dict.fromkeys(i.client for i in items if isinstance(i, Reply))
    )
    assert sorted(i.client for i in items) == sorted(i.client for i in clean)
    expected = {i.client: i for i in clean if isinstance(i, Reply)}
    replies = [i for i in items if isinstance(i, Reply)]
    for item in items:
        for finding in [item] if isinstance(item, Rejection) else item.remarks:
            assert len(finding.code) <= 40
            assert len(finding.detail) <= 200
            assert finding.detail.isprintable()
    for reply in replies:
        number = int(reply.client[-1])
        if number not in (BAD, BAD + 2):
            assert_same(reply, expected[reply.client])
        limit = 10**12 if stock else EXAMPLES + number
        assert type(reply.num_examples) is int
        assert 0 <= reply.num_examples <= limit
        assert all(math.isfinite(v) for v in reply.metrics.values())
        if reply.arrays is not None:
            assert reply.arrays.schema == SCHEMA
            assert np.isfinite(reply.arrays.vector).all()
    vectors = [(r.arrays.vector, float(r.num_examples)) for r in replies if r.arrays is not None]
    mean = weighted_mean(vectors)
    if mean is not None:
        stack = np.stack([v for v, weight in vectors if weight]).astype(np.float64)
        room = 1e-9 * np.abs(stack).max()
        assert (mean >= stack.min(axis=0) - room).all()
        assert (mean <= stack.max(axis=0) + room).all()
    by_client = {r.client: r for r in replies}
    json.dumps([summarise_clients(by_client), summarise_groups(by_client)], allow_nan=False)
    return len(replies) == len(clean)


def assert_same(reply: Reply, expected: Reply) -> None:
    assert (reply.num_examples, reply.metrics) == (expected.num_examples, expected.metrics)
    if expected.arrays is not None:
        assert reply.arrays is not None
        np.testing.assert_array_equal(reply.arrays.vector, expected.arrays.vector)


def paths(spoil: Callable[[RecordDict], RecordDict]) -> Iterator[tuple[Exchange, Action, bool]]:
    yield packed(spoil), "train", False
    yield packed(spoil, pack_bytes=1 << 20), "train", False
    yield packed(spoil, pack_bytes=1 << 20, action="evaluate"), "evaluate", False
    yield plain(spoil), "train", True


def fuzz(mutants: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR")
    accepted = 0
    mutator = Mutator()
    clean = [exchanged(e, action) for e, action, _ in paths(lambda content: content)]
    for (exchange, action, stock), expected in zip(paths(mutator), clean, strict=True):
        for number in range(mutants // 4):
            # Each mutant can be made again on its own.
            mutator.draw = np.random.default_rng([number, len(action), stock])
            accepted += check(exchanged(exchange, action), expected, stock)
    # A mutation that changes nothing of weight passes; most must not.
    assert mutants * 0.02 < accepted < mutants * 0.6


def test_a_thousand_mutants(caplog: pytest.LogCaptureFixture) -> None:
    fuzz(1000, caplog)


@pytest.mark.slow
def test_twenty_thousand_mutants(caplog: pytest.LogCaptureFixture) -> None:
    fuzz(20_000, caplog)
