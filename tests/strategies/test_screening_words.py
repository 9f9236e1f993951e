"""Rows B2-B6, B17, B19, B20 and F13: weights, adapters, metrics, error text, replies too many."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import ConfigRecord, Error, Message, MetricRecord, RecordDict
from hostile_clients import (
    BAD,
    EXAMPLES,
    SCHEMA,
    Outcome,
    packed,
    plain,
    run,
    same,
    trained,
    without_bad,
)

from app.packs import failure
from fedbouquet.testing import LocalGrid
from models.errors import ClientError, DataError, one_line
from models.results import ClientResult
from models.schema import ArraySpec, NamedArrays, Schema
from strategies.aggregation.mean import weighted_mean
from strategies.transport.screening import kept_notes

BOTH = pytest.mark.parametrize("stock", [False, True], ids=["packed", "stock"])


def answered(stock: bool, **changes: object) -> Outcome:
    """Run a round in which the bad client states other examples or metrics."""
    if not stock:
        return run(packed(result=lambda done: replace(done, **changes)))  # type: ignore[arg-type]

    def spoil(content: RecordDict) -> RecordDict:
        metrics = content.metric_records["metrics"]
        # Below Flower's own checks, as an answer in one process may be.
        held = metrics.__dict__["_data"]
        if "num_examples" in changes:
            held["num-examples"] = changes["num_examples"]
        more = changes.get("metrics", {})
        assert isinstance(more, Mapping)
        held.update(more)
        return content

    return run(plain(spoil))


def rejection(outcome: Outcome, stock: bool) -> str:
    (found,) = outcome.record.rejected
    assert found.client == (str(1000 + BAD) if stock else f"c-{BAD}")
    np.testing.assert_array_equal(outcome.arrays.vector, without_bad(stock).vector)
    return f"{found.code}: {found.detail}"


# ---- B2 to B6 --------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "num-examples is nan, not a whole number from 0 to 1,000,000,000,000"),
        (math.inf, "num-examples is inf, not a whole number from 0 to 1,000,000,000,000"),
        (-5, "num-examples is -5, not a whole number from 0 to 1,000,000,000,000"),
        (2.5, "num-examples is 2.5, not a whole number >= 0"),
        (True, "num-examples is a bool, not a number"),
        ("7", "num-examples is a str, not a number"),
        ([7], "num-examples is a list, not a number"),
        (None, "num-examples is missing"),
        (-(10**400), "num-examples is "),
    ],
)
def test_b2_b6_weights(stock: bool, value: object, said: str) -> None:
    assert rejection(answered(stock, num_examples=value), stock).startswith(f"weight: {said}")


@pytest.mark.parametrize("value", [10**18, 1e18, 10**17, EXAMPLES + BAD + 1])
def test_b6_a_huge_weight_is_cut_to_the_declared_one_and_named(value: object) -> None:
    outcome = answered(False, num_examples=value)
    np.testing.assert_array_equal(outcome.arrays.vector, run(packed()).arrays.vector)
    (remark,) = outcome.record.remarks
    assert (remark.client, remark.code) == ("c-1", "weight")
    assert remark.detail == "num-examples was more than the 11 it declared; cut"


def test_b6_a_huge_weight_of_a_client_that_declared_none_is_refused() -> None:
    assert rejection(answered(True, num_examples=10**18), True).startswith("weight: ")


@BOTH
def test_b5_a_client_without_examples_has_no_say(stock: bool) -> None:
    outcome = answered(stock, num_examples=0)
    assert outcome.record.rejected == ()
    assert outcome.record.clients_answered == 4
    np.testing.assert_array_equal(outcome.arrays.vector, without_bad(stock).vector)


# ---- B17 -------------------------------------------------------------------------------------


def other(facts: dict[str, str | int | float], width: int = 80) -> Schema:
    return Schema((ArraySpec("w", (width,)),), {**SCHEMA.facts, **facts})


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (other({"rank": 8}, 160), "adapter: rank is 8, expected 4"),
        (other({"scaling": 4.0}), "adapter: scaling is 4.0, expected 2.0"),
        (other({"base": "0ddba5e5"}), "adapter: base is 0ddba5e5, expected 5ca1ab1e"),
        (
            other({"rank": 8, "scaling": 1.0, "base": "x"}),
            "adapter: base is x, expected 5ca1ab1e; rank is 8, expected 4; "
            "scaling is 1.0, expected 2.0",
        ),
        (other({"new": 1}), "adapter: new is 1, expected None"),
        (other({}), f"schema: answered for schema {other({}).hash}, asked for {SCHEMA.hash}"),
    ],
)
@pytest.mark.parametrize("pack_bytes", [1, 1 << 20], ids=["alone", "in company"])
def test_b17_another_adapter(schema: Schema, said: str, pack_bytes: int) -> None:
    arrays = NamedArrays(schema, np.zeros(schema.size, np.float32))
    grid = packed(result=lambda done: replace(done, arrays=arrays), pack_bytes=pack_bytes)
    assert rejection(run(grid), False) == said


# ---- B19 -------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "train_loss is nan"),
        (math.inf, "train_loss is inf"),
        (1e200, "train_loss is 1e+200"),
        (10**400, "train_loss is "),
        ("0.5", "train_loss is a str"),
        ([0.5, 0.4], "train_loss is a list"),
        ([], "train_loss is a list"),
        (True, "train_loss is a bool"),
        (None, "train_loss is a NoneType"),
        ({"a": 1}, "train_loss is a dict"),
    ],
)
def test_b19_a_metric_that_is_no_number_is_dropped_and_named(
    stock: bool, value: object, said: str
) -> None:
    outcome = answered(stock, metrics={"train_loss": value})
    assert outcome.record.rejected == ()
    (remark,) = outcome.record.remarks
    assert remark.code == "metric"
    assert remark.detail.startswith(f"dropped: {said}")
    clean = run(plain() if stock else packed())
    np.testing.assert_array_equal(outcome.arrays.vector, clean.arrays.vector)
    assert json.loads(json.dumps(outcome.record.to_dict()))["remarks"] == [remark.to_dict()]


@BOTH
def test_b19_many_dropped_metrics_make_one_remark_and_a_flood_a_rejection(stock: bool) -> None:
    outcome = answered(stock, metrics={f"m{i}": math.nan for i in range(50)})
    (remark,) = outcome.record.remarks
    assert remark.detail == "dropped: m0 is nan, m1 is nan, m2 is nan and 47 more"
    flood = answered(stock, metrics={f"m{i}": 0.5 for i in range(2000)})
    assert rejection(flood, stock).startswith("size: 200")


@pytest.mark.parametrize(
    "groups",
    [
        7,
        {"sex": 3},
        {"sex": {"f": 3}},
        {"sex": {"f": [1]}},
        {"sex": {"f": ["1", "2"]}},
        {"sex": {"f": [3, 2]}},
        {"sex": {"f": [-1, 2]}},
        {"sex": {"f": [1, 10**9]}},
        {"sex": {"f": [math.nan, 2]}},
    ],
)
def test_b19_counts_by_group_that_cannot_be_are_dropped(groups: object) -> None:
    def result(done: ClientResult) -> ClientResult:
        return replace(done, notes={"groups": groups})

    outcome = run(packed(result=result, action="evaluate"))
    (remark,) = outcome.record.remarks
    assert (remark.client, remark.code) == ("c-1", "notes")
    assert outcome.record.client_metrics["client_accuracy_mean"] == 0.5
    assert outcome.record.groups == {"sex": {"f": {"accuracy": 2 / 3, "examples": 9}}}


@pytest.mark.parametrize(
    "classes",
    [7, {"1": 3}, {"1": [1]}, {"1": [3, 2]}, {"-1": [1, 2]}, {"x": [1, 2]}, {"1": [1, 10**9]},
     {str(c): [1, 3] for c in range(10)}],
)  # fmt: skip
def test_counts_by_class_that_cannot_be_are_dropped(classes: object) -> None:
    kept, dropped = kept_notes({"classes": classes, "other": 1}, examples=12)
    assert (kept, dropped) == ({"other": 1}, ["classes cannot be read"])
    good = {"classes": {"0": [1, 4], "3": [8, 8]}}
    assert kept_notes(good, examples=12) == (good, [])


def test_counts_by_group_that_can_be_are_added_up() -> None:
    outcome = run(packed())
    assert outcome.record.groups == {"sex": {"f": {"accuracy": 2 / 3, "examples": 12}}}
    assert outcome.record.remarks == ()


# ---- B20 -------------------------------------------------------------------------------------

UGLY = "line one\nline two\r\x1b[31mred\x1b[0m \x07\u202egnp.exe\u2028 é \ud800"


@pytest.mark.parametrize("text", [UGLY, UGLY * 10, "\x1b" * (1 << 20), "x" * (1 << 20)])
def test_b20_error_text_is_one_short_harmless_line(text: str) -> None:
    outcome = run(packed(result=lambda done: replace(done, arrays=None, error=(text, text))))
    (found,) = outcome.record.rejected
    assert len(found.code) <= 40
    assert len(found.detail) <= 200
    for part in (found.code, found.detail):
        assert part.isprintable()
        assert one_line(part) == part
    np.testing.assert_array_equal(outcome.arrays.vector, without_bad(False).vector)


def test_b20_what_is_readable_stays() -> None:
    said = one_line(UGLY)
    assert said.startswith(r"line one\nline two\r\x1b[31mred\x1b[0m \x07\u202egnp.exe\u2028 é")
    assert one_line("x" * 200) == "x" * 200
    assert one_line("x" * 201) == "x" * 197 + "..."


def test_b20_foreign_names_in_a_detail_are_escaped() -> None:
    def spoil(content: RecordDict) -> RecordDict:
        content["\x1b[2J" + "y" * 5000] = ConfigRecord()
        return content

    (found,) = run(packed(spoil)).record.rejected
    assert found.detail.startswith(r"1 records too many, first '\x1b[2J")
    assert len(found.detail) == 200


def test_b20_only_the_exception_class_leaves_a_site() -> None:
    secret = ValueError("patient 4711 has\nage 33")
    assert failure(secret, share_text=False) == ("client-app", "ValueError")
    assert failure(secret, share_text=True) == (
        "client-app",
        r"ValueError: patient 4711 has\nage 33",
    )
    assert failure(ClientError("base", "a\x1bb" * 500), share_text=False)[1].isprintable()
    assert len(failure(DataError("y" * (1 << 20)), share_text=False)[1]) == 200


def test_b20_a_process_that_dies_says_one_word() -> None:
    grid = packed()
    assert isinstance(grid._below, LocalGrid)

    def die(message: Message, reply: Message) -> Message:
        if message.metadata.message_type == "train" and message.metadata.dst_node_id == 1001:
            return Message(
                Error(code=3, reason="Bad\x1b[31m\nError: patient 4711"), reply_to=message
            )
        return reply

    grid._below._tamper = die
    rejected = run(grid).record.rejected
    assert {r.client for r in rejected} == {"c-1", "c-3"}
    assert {r.detail for r in rejected} == {r"the node's process failed (Bad\x1b[31m\nError)"}


# ---- F13 -------------------------------------------------------------------------------------


def rows_changed(change: object) -> object:
    def spoil(content: RecordDict) -> RecordDict:
        config = content.config_records["config"]
        rows = json.loads(str(config["results"]))
        config["results"] = json.dumps(change(rows))  # type: ignore[operator]
        return content

    return spoil


def test_f13_a_client_that_is_listed_twice_counts_once() -> None:
    def twice(content: RecordDict) -> RecordDict:
        config = content.config_records["config"]
        rows = json.loads(str(config["results"]))
        config["results"] = json.dumps([*rows, {**rows[0], "num-examples": 1}])
        (name,) = content.array_records
        from models.records import to_flat

        row = content.array_records[name]["flat"].numpy()[0]
        content[name] = to_flat([row, row + 9])
        return content

    outcome = run(packed(twice))
    assert (outcome.record.clients_answered, outcome.record.rejected) == (4, ())
    np.testing.assert_array_equal(outcome.arrays.vector, run(packed()).arrays.vector)


def test_f13_a_client_that_nobody_asked_has_no_say() -> None:
    def renamed(content: RecordDict) -> RecordDict:
        config = content.config_records["config"]
        config["results"] = str(config["results"]).replace("c-1", "c-0")
        return content

    outcome = run(packed(renamed))
    assert rejection(outcome, False) == "missing: its node left it out of the answer"


@pytest.mark.parametrize("said", [0, 2, -1, 1.5, "1", [1]])
def test_f13_an_answer_for_another_round_does_not_count(said: object) -> None:
    def late(content: RecordDict) -> RecordDict:
        content.config_records["config"]["server-round"] = said  # type: ignore[assignment]
        return content

    assert rejection(run(packed(late)), False) == (
        f"round: an answer for round {said!r}, asked for 1"
    )


def test_f13_replayed_messages_count_once() -> None:
    grid = packed()
    below = grid._below
    assert isinstance(below, LocalGrid)
    real, seen = below.pull_messages, list[Message]()

    def replay(message_ids: object) -> list[Message]:
        came = list(real(message_ids))  # type: ignore[arg-type]
        seen.extend(came)
        return [*came, *seen, *came]

    below.pull_messages = replay  # type: ignore[method-assign]
    outcome = run(grid, rounds=3)
    assert [r.clients_answered for r in outcome.records] == [0, 4, 4, 4]
    np.testing.assert_array_equal(outcome.arrays.vector, run(packed(), rounds=3).arrays.vector)


def test_f13_flowers_interface_counts_a_node_once() -> None:
    from flwr.app import ArrayRecord

    from models.records import from_stock, to_stock
    from strategies.fedavg import FedAvg

    strategy = FedAvg()
    grid = plain()._grid
    begin = NamedArrays(SCHEMA, np.zeros(SCHEMA.size, np.float32))
    asked = list(strategy.configure_train(1, to_stock(begin), ConfigRecord(), grid))
    replies = []
    for message in asked[:2]:
        client = message.metadata.dst_node_id - 1000
        metrics = MetricRecord({"num-examples": 1 + client})
        content = RecordDict({"arrays": to_stock(trained(client, begin)), "metrics": metrics})
        replies.append(Message(content, reply_to=message))
    arrays, _ = strategy.aggregate_train(1, [*replies, *replies])
    assert isinstance(arrays, ArrayRecord)
    mean = weighted_mean((trained(i, begin).vector, 1.0 + i) for i in range(2))
    assert mean is not None
    found = from_stock(arrays).vector
    np.testing.assert_array_equal(found, mean.astype(np.float32))


@pytest.mark.parametrize(
    "rows", [7, "x", None, [], {}, [1, "x", None], [{"client": 7}], [{"client": [1]}], [{}]]
)
def test_results_of_any_other_form_cost_that_pack(rows: object) -> None:
    spoil = rows_changed(lambda _: rows)
    outcome = run(packed(spoil))  # type: ignore[arg-type]
    assert rejection(outcome, False).split(":")[0] in {"format", "missing", "keys"}


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[1e", "\ud800", '[{"client": "c-1"'])
def test_text_that_is_no_json_costs_that_pack(text: str) -> None:
    def spoil(content: RecordDict) -> RecordDict:
        content.config_records["config"]["results"] = text
        return content

    assert rejection(run(packed(spoil)), False).startswith("format: not an answered pack: ")


def test_nothing_is_remarked_about_honest_clients() -> None:
    for outcome in (run(packed(same)), run(plain(same))):
        assert outcome.record.rejected == ()
        assert outcome.record.remarks == ()
