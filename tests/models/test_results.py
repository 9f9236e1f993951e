from __future__ import annotations

import json

import numpy as np
import pytest
from flwr.app import ConfigRecord, RecordDict

from models.errors import ClientError
from models.messages import pack_results, unpack_results
from models.results import Answers, ClientResult
from models.schema import NamedArrays, Schema

SCHEMA = Schema.of({"a": np.zeros((2, 2), np.float32), "b": np.zeros(3, np.float32)}, {"rank": 2})
WIDE = Schema.of({"a": np.zeros((4, 2), np.float32)}, {"rank": 4})


def arrays(start: float, schema: Schema = SCHEMA) -> NamedArrays:
    return NamedArrays(schema, np.arange(start, start + schema.size, dtype=np.float32))


def read(content: RecordDict, clients: str = "xyz", **own: Schema) -> Answers:
    return unpack_results(content, tuple(clients), {**dict.fromkeys(clients, SCHEMA), **own}, 3)


def test_results_come_back_by_client_and_failures_stay_apart() -> None:
    content = pack_results(
        [
            ClientResult("x", 5, {"train_loss": 0.5}, {"n": [1]}, arrays(1)),
            ClientResult("y", error=("client-app", "ValueError")),
            ClientResult("z", 6, {}, {}, arrays(100)),
        ],
        "float32",
        3,
    )
    x, y, z = read(content).results.values()
    assert (x.num_examples, x.metrics, x.notes) == (5, {"train_loss": 0.5}, {"n": [1]})
    assert z.arrays is not None
    assert z.arrays.vector[0] == 100
    assert y.arrays is None
    assert y.error == ("client-app", "ValueError")


def test_an_answer_for_another_schema_costs_only_those_clients() -> None:
    content = pack_results(
        [ClientResult("x", 5, arrays=arrays(1, WIDE)), ClientResult("y", 5, arrays=arrays(1))],
        "float32",
        3,
    )
    x, y = read(content).results.values()
    assert x.error == ("adapter", "rank is 4, expected 2")
    assert y.error is None


def test_clients_may_return_different_schemas() -> None:
    results = [ClientResult("x", 5, arrays=arrays(7, WIDE)), ClientResult("y", arrays=arrays(1))]
    x, y = read(pack_results(results, "bfloat16", 3), "xy", x=WIDE).results.values()
    assert x.arrays is not None
    assert y.arrays is not None
    assert (x.arrays.schema, x.arrays.vector[0]) == (WIDE, 7)
    assert (y.arrays.schema, y.arrays.vector[0]) == (SCHEMA, 1)
    swapped = read(pack_results(results, "float32", 3), "xy", y=WIDE).results
    assert [r.error and r.error[0] for r in swapped.values()] == ["adapter", "adapter"]


def test_rows_that_do_not_count_keep_their_place_in_the_buffer() -> None:
    content = pack_results(
        [
            ClientResult(name, 1, arrays=arrays(10 * i))
            for i, name in enumerate(["stranger", "x", "x", "y"])
        ],
        "float32",
        3,
    )
    answers = read(content, "xy")
    assert answers.ignored == ("stranger", "x")
    found = [r.arrays.vector[0] for r in answers.results.values() if r.arrays is not None]
    assert found == [10, 30]


def test_arrays_of_an_evaluation_are_refused() -> None:
    content = pack_results([ClientResult("x", 5, arrays=arrays(1))], "float32", 3)
    (x,) = unpack_results(content, ("x",), {}, 3).results.values()
    assert x.error == ("keys", "arrays where none were asked for")


@pytest.mark.parametrize("text", ["", "{", "7", "null", '{"client": "x"}', "[" * 10**5])
def test_garbage_is_no_answer(text: str) -> None:
    config = ConfigRecord({"bouquet": 1, "results": text, "server-round": 3})
    with pytest.raises(ClientError, match="format"):
        read(RecordDict({"config": config}))


@pytest.mark.parametrize("key", ["results", "facts"])
def test_too_much_text_is_not_parsed(key: str) -> None:
    texts = {"results": "[]", "facts": "{}", key: " " * (5 << 20)}
    with pytest.raises(ClientError, match="size"):
        read(RecordDict({"config": ConfigRecord({**texts, "server-round": 3})}))


def test_results_are_json() -> None:
    content = pack_results([ClientResult("x", 5, arrays=arrays(1))], "float32", 3)
    config = content.config_records["config"]
    assert json.loads(str(config["results"]))[0]["arrays"] == SCHEMA.hash
    assert json.loads(str(config["facts"])) == {SCHEMA.hash: {"rank": 2}}
