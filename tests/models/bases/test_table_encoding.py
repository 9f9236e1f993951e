"""Rows of a table as tokens: exact numbers, and what no value may change."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification

from models.bases.table_encoding import Column, TableEncoding
from models.bases.tiny_table import pretrained
from models.checkpoint import fingerprint
from models.errors import ModelError

CELLS = {
    "age": [20, 30, 30, 40] * 8,
    "work": ["b", "a", None, "a"] * 8,
    "old": [True, False, False, True] * 8,
}


def test_each_value_has_the_token_that_the_rule_says() -> None:
    encoding = TableEncoding.learned(CELLS)
    age, work, old = encoding.columns
    assert age == Column("age", (25.0, 35.0))
    assert work == Column("work", None, ("a", "b"))
    assert old == Column("old", None, ("False", "True"))
    assert encoding.names == ("age", "work", "old")
    # Padding, row; then unknown and three intervals, unknown and two names, unknown and two.
    assert encoding.unknown.tolist() == [2, 6, 9]
    assert encoding.vocabulary == 12
    some = {
        "age": [20, 25, "34.9", 1e9, None, "old", float("inf"), float("nan")],
        "work": ["a", "b", "c", None, " a ", "", 3, "B"],
        "old": [True, False, "True", None, 1, "x", "False", float("nan")],
    }
    assert encoding.tokens(some).tolist() == [
        [1, 3, 7, 11],
        [1, 4, 8, 10],
        [1, 4, 6, 11],
        [1, 5, 6, 9],
        [1, 2, 7, 9],
        [1, 2, 6, 9],
        [1, 5, 6, 10],
        [1, 2, 6, 9],
    ]


def test_many_numbers_fall_into_intervals_of_equal_shares() -> None:
    column = Column.learned("x", list(range(800)))
    assert column.edges is not None
    assert len(column.edges) == 31
    assert np.bincount(column.numbers(range(800))).tolist() == [0] + [25] * 32
    # What few rows say of an interval is chance: eight rows each, on average.
    assert Column.learned("x", [float(i) for i in range(40)]).size == 1 + 5
    # Most values are alike, as a gain that most people do not have.
    assert Column.learned("x", [0] * 750 + list(range(1, 51))).edges is not None
    assert Column.learned("x", [None, None]) == Column("x", ())


def test_of_too_many_names_the_most_frequent_are_kept() -> None:
    names = [f"n{i:03d}" for i in range(300)] + ["n299"]
    column = Column.learned("x", names)
    assert len(column.names) == 256
    assert "n299" in column.names
    assert "n298" not in column.names


def test_codes_are_one_name_whatever_type_a_site_reads_them_as() -> None:
    column = Column.learned("x", ["1", "2", "?"])
    assert column.numbers([1, 2.0, "1", " 2", "?", 3]).tolist() == [1, 2, 1, 2, 3, 0]


values = st.one_of(
    st.none(), st.integers(-(2**60), 2**60), st.floats(), st.text(max_size=3), st.booleans()
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(values, min_size=1, max_size=40),
    st.lists(values, min_size=1, max_size=40),
    st.lists(values, min_size=1, max_size=20),
)
def test_whatever_a_client_has_stays_within_the_columns_own_tokens(
    first: list[object], second: list[object], own: list[object]
) -> None:
    encoding = TableEncoding.learned({"a": first, "b": second})
    tokens = encoding.tokens({"a": own, "b": own})
    assert (tokens[:, 0] == 1).all()
    start = encoding.unknown[1]
    assert ((tokens[:, 1] >= 2) & (tokens[:, 1] < start)).all()
    assert ((tokens[:, 2] >= start) & (tokens[:, 2] < encoding.vocabulary)).all()
    missing = np.array([value is None for value in own])
    assert (tokens[missing, 1:] == encoding.unknown).all()


def base(folder: Path, **changes: object) -> Path:
    targets = np.array([0, 1, 0, 1] * 8)
    given = {"cells": CELLS, "targets": targets, "labels": ("no", "yes"), "seed": 1, "steps": 3}
    return pretrained(**{**given, "bases": folder, "width": 8, "depth": 1, **changes})  # type: ignore[arg-type]


def test_a_base_is_an_ordinary_checkpoint_that_says_how_it_reads(tmp_path: Path) -> None:
    folder = base(tmp_path)
    assert folder == tmp_path / fingerprint(folder)
    encoding = TableEncoding.of(folder)
    assert encoding == TableEncoding.learned(CELLS)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.config.vocab_size == 12
    assert model.config.id2label == {0: "no", 1: "yes"}
    assert model(input_ids=torch.from_numpy(encoding.tokens(CELLS))).logits.shape == (32, 2)
    # Made once; another seed, other rows or another size is another base.
    before = folder.stat().st_mtime_ns
    assert base(tmp_path) == folder
    assert folder.stat().st_mtime_ns == before
    others = [
        base(tmp_path, seed=2),
        base(tmp_path, cells=CELLS | {"age": [20, 30, 31, 40] * 8}),
        base(tmp_path, width=16),
    ]
    assert len({folder, *others}) == 4


def test_pretraining_learns_and_knows_what_is_missing(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    age, noise = generator.integers(0, 90, 256), generator.integers(0, 90, 256)
    targets = (age > 45).astype(np.int64)
    cells = {"age": age.tolist(), "noise": noise.tolist()}
    folder = base(tmp_path, cells=cells, targets=targets, steps=120, width=16)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    encoding = TableEncoding.of(folder)

    def sure(own: dict[str, list[object]]) -> np.ndarray:
        with torch.no_grad():
            found = model(input_ids=torch.from_numpy(encoding.tokens(own))).logits.softmax(-1)
        return found[:, 1].numpy()

    assert ((sure(cells) > 0.5) == targets).mean() > 0.95
    unknown = sure({"age": [None] * 256, "noise": noise.tolist()})
    # Without the one column that tells, it leans to neither side, and is less sure.
    assert abs(unknown.mean() - 0.5) < 0.2
    assert np.abs(unknown - 0.5).mean() < np.abs(sure(cells) - 0.5).mean() - 0.15


def test_a_base_of_texts_is_refused(bert_folder: Path) -> None:
    with pytest.raises(ModelError, match=r"no base for tables.*tiny-table.*text-column"):
        TableEncoding.of(bert_folder)


def test_the_configuration_is_plain_json() -> None:
    entries = TableEncoding.learned(CELLS).to_config()
    assert json.loads(json.dumps(entries)) == entries
    assert entries[0] == {"name": "age", "edges": [25.0, 35.0]}
