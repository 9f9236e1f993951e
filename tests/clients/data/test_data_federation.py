"""Whole federations: disjoint, deterministic, and told what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.data import (
    DataSpec,
    Federation,
    describe_client,
    load_federation,
    load_site,
    partition_table,
)
from models.errors import ConfigurationError, DataError

Write = Callable[..., Path]
SHARED = Path(__file__).parents[4] / "shared" / "data"


def rows_of(federation: Federation) -> list[int]:
    """All row numbers of one table: every client's, and the server's if of that table."""
    rows: list[int] = []
    for client in federation.client_ids:
        data = federation.client(client)
        rows += [*data.train.indices.tolist(), *data.test.indices.tolist()]
    for part in (federation.server_test, federation.public):
        if part is not None and part.table is federation.client(client).train.table:
            rows += part.indices.tolist()
    return rows


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    clients=st.integers(1, 20),
    share=st.sampled_from(["1%", "10%", "33%"]),
    partition=st.sampled_from(["iid", "dirichlet", "linear"]),
)
def test_every_row_has_one_holder(seed: int, clients: int, share: str, partition: str) -> None:
    federation = load_federation(
        DataSpec(
            partition=partition,
            partition_args=(("alpha", 3.0),) if partition == "dirichlet" else (),
            num_clients=clients,
            partition_seed=seed,
            public_data=share,
            needs_public=True,
        )
    )
    assert sorted(rows_of(federation)) == list(range(1797))
    assert all(
        len(federation.client(client).train) and len(federation.client(client).test)
        for client in federation.client_ids
    )


def test_default_sizes() -> None:
    federation = load_federation(DataSpec())
    assert federation.client_ids[:2] == ("client-0000", "client-0001")
    assert len(federation.client_ids) == 20
    assert federation.label_names == tuple("0123456789")
    assert federation.public is None
    assert federation.server_test is not None
    assert len(federation.server_test) == 359
    # Stratified: 174 to 183 rows a digit, a fifth of each.
    assert set(federation.server_test.label_counts().values()) <= {35, 36, 37}


def test_the_seed_decides() -> None:
    tables = [
        partition_table(load_federation(DataSpec(partition_seed=seed, test_fraction=fraction)))
        for seed, fraction in ((1, 0.2), (1, 0.25), (1, 0.2), (2, 0.2))
    ]
    assert tables[0] == tables[2]
    assert tables[0] != tables[3]
    assert tables[0] != tables[1]


def test_unchanged_data_is_loaded_once(write: Write, make_texts: Write) -> None:
    path = write("rows.csv", make_texts(40, ["a", "b"]))
    spec = DataSpec(dataset=str(path), num_clients=4, partition="iid", partition_args=())
    assert load_federation(spec) is load_federation(spec)
    write("rows.csv", make_texts(60, ["a", "b"]))
    assert len(rows_of(load_federation(spec))) == 60


def test_a_test_split_is_the_servers(write: Write, make_texts: Write) -> None:
    write("d/test.csv", make_texts(10, ["a", "b"]))
    path = write("d/train.csv", make_texts(40, ["a", "b"])).parent
    spec = DataSpec(dataset=str(path), num_clients=4, partition="iid", partition_args=())
    federation = load_federation(spec)
    assert len(federation.server_test or []) == 10
    assert sorted(rows_of(federation)) == list(range(40))
    other = write("other.csv", make_texts(7, ["a", "c"]))
    federation = load_federation(replace(spec, server_data_path=str(other)))
    assert len(federation.server_test or []) == 7
    assert federation.label_names == ("a", "b", "c")


def test_natural_ids(write: Write, make_texts: Write) -> None:
    rows = {**make_texts(30, ["a", "b"]), "who": [row % 3 for row in range(30)]}
    path = write("rows.parquet", rows)
    spec = DataSpec(
        dataset=str(path),
        partition="natural-id",
        partition_args=(("column", "who"),),
        group_columns=("who",),
        num_clients=99,
    )
    federation = load_federation(spec)
    assert federation.client_ids == ("who-0", "who-1", "who-2")
    for number, client in enumerate(federation.client_ids):
        data = federation.client(client)
        assert set((data.train.indices % 3).tolist()) == {number}
        assert describe_client(data)["groups"] == {"who": [str(number)]}
    with pytest.raises(DataError, match=r"no column 'user' .*column in partition-args"):
        load_federation(replace(spec, partition_args=(("column", "user"),)))


def test_folders_are_as_on_real_nodes(write: Write, make_texts: Write) -> None:
    write("all/site-10/rows.csv", make_texts(10, ["a", "b"]))
    write("all/site-2/test.csv", make_texts(4, ["c"]))
    path = write("all/site-2/train.csv", make_texts(6, ["c"])).parent.parent
    spec = DataSpec(dataset=str(path), partition="folders", partition_args=())
    federation = load_federation(spec)
    assert federation.client_ids == ("site-2", "site-10")
    assert federation.label_names == ("a", "b", "c")
    assert federation.server_test is None
    for client in federation.client_ids:
        alone = load_site(spec, path / client, client)
        assert describe_client(alone) == describe_client(federation.client(client))
        assert alone.train.indices.tolist() == federation.client(client).train.indices.tolist()
        assert alone.train.table.key == federation.client(client).train.table.key


def test_folders_of_two_kinds(write: Write, make_texts: Write, image_folder: Write) -> None:
    write("all/a/rows.csv", make_texts(10, ["x"]))
    path = image_folder("all/b", {"x": 4}).parent
    with pytest.raises(DataError, match=r"client 'b': image in column 'image', but client 'a'"):
        load_federation(DataSpec(dataset=str(path), partition="folders", partition_args=()))


def test_folders_want_folders(write: Write, make_texts: Write) -> None:
    path = write("d/rows.csv", make_texts(10, ["x"]))
    spec = DataSpec(partition="folders", partition_args=())
    for dataset, message in (
        (str(path), "is a file"),
        (str(path.parent), "has none"),
        ("digits", "relative path"),
    ):
        with pytest.raises(DataError, match=message):
            load_federation(replace(spec, dataset=dataset))


def test_no_train_split(write: Write, make_texts: Write) -> None:
    path = write("d/test.csv", make_texts(10, ["x"])).parent
    with pytest.raises(DataError, match=r"has no train split, only test"):
        load_federation(DataSpec(dataset=str(path)))


def test_fixed_labels_order_the_outputs() -> None:
    names = ("9", "8", "7", "6", "5", "4", "3", "2", "1", "0", "none")
    assert load_federation(DataSpec(labels=names)).label_names == names
    with pytest.raises(DataError, match=r"client 'client-0000': label '\d' in column 'label'"):
        load_federation(DataSpec(labels=("x", "y")))


def test_too_few_rows_name_the_clients() -> None:
    spec = DataSpec(partition="linear", partition_args=(), num_clients=55)
    with pytest.raises(
        DataError, match=r"over 55 clients failed: .*not greater than 0. Lower num-clients"
    ):
        load_federation(spec)
    with pytest.raises(DataError, match=r"leaves 1 of 50 .*: client-0000 \(1\); .*num-clients"):
        load_federation(replace(spec, num_clients=50))


def test_all_wrong_settings_at_once() -> None:
    spec = DataSpec(
        partition_args=(("alpha", 0), ("beta", 1)), test_fraction=1.0, public_data="ten"
    )
    with pytest.raises(ConfigurationError) as caught:
        load_federation(spec)
    assert len(caught.value.errors) == 4


def test_an_unknown_client_is_named() -> None:
    with pytest.raises(DataError, match=r"no client 'client-20'.*did you mean 'client-00"):
        load_federation(DataSpec()).client("client-20")


def test_partition_table_counts_everything() -> None:
    federation = load_federation(DataSpec(num_clients=3))
    table = partition_table(federation)
    assert [row["client"] for row in table] == ["client-0000", "client-0001", "client-0002"]
    for row in table:
        labels = row["labels"]
        assert isinstance(labels, dict)
        assert list(labels) == list(federation.label_names)
        assert sum(labels.values()) == row["train"] + row["test"]  # type: ignore[operator]
        assert row["concept"] is None


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")
def test_real_mnist_by_its_own_clients() -> None:
    federation = load_federation(
        DataSpec(
            dataset=str(SHARED / "mnist"),
            partition="natural-id",
            partition_args=(("column", "client"),),
        )
    )
    assert len(federation.client_ids) == 20
    assert federation.client_ids[7] == "client-07"
    assert sum(row["train"] + row["test"] for row in partition_table(federation)) == 52_492  # type: ignore[operator,misc]
    assert len(federation.server_test or []) == 17_508
    (image,) = federation.client("client-07").train.inputs([0])
    assert np.asarray(image).shape == (28, 28)


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")
def test_real_text() -> None:
    federation = load_federation(
        DataSpec(dataset=str(SHARED / "ag_news"), num_clients=10, partition_args=(("alpha", 0.5),))
    )
    assert federation.label_names == ("Business", "Sci/Tech", "Sports", "World")
    assert len(federation.server_test or []) == 1600
    assert federation.columns.kind == "text"
    with pytest.raises(DataError, match=r"shakespeare': no label column found"):
        load_federation(DataSpec(dataset=str(SHARED / "shakespeare")))
