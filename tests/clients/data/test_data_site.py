"""A node's own data, the server's test set, public data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clients.data import DataSpec, describe_client, load_public, load_server_test, load_site
from models.errors import DataError

Write = Callable[..., Path]


def test_rows_without_splits_are_divided_by_seed_and_client(
    write: Write, make_texts: Write
) -> None:
    path = write("rows.csv", make_texts(50, ["a", "b"]))
    spec = DataSpec(test_fraction=0.2)
    data = load_site(spec, path, "north")
    assert sorted([*data.train.indices, *data.test.indices]) == list(range(50))
    assert data.test.label_counts() == {"a": 5, "b": 5}
    assert data.concept is None
    same = load_site(spec, str(path), "north").test.indices.tolist()
    assert same == data.test.indices.tolist()
    assert same != load_site(spec, path, "south").test.indices.tolist()
    other = DataSpec(test_fraction=0.2, partition_seed=1)
    assert same != load_site(other, path, "north").test.indices.tolist()


def test_own_splits_are_kept(write: Write, make_texts: Write) -> None:
    write("site/test.csv", make_texts(3, ["a"]))
    write("site/validation.csv", make_texts(2, ["a"]))
    path = write("site/train.csv", make_texts(7, ["a", "b"])).parent
    data = load_site(DataSpec(), path, "north")
    assert (len(data.train), len(data.test)) == (7, 3)
    assert data.train.inputs([6]) == ["sentence 6"]
    assert data.train.label_ids(["b", "a"]).tolist() == [1, 0, 1, 0, 1, 0, 1]
    (path / "test.csv").unlink()
    assert len(load_site(DataSpec(), path, "north").test) == 2


def test_errors_name_the_client(write: Write, make_texts: Write, image_folder: Write) -> None:
    one = write("one.csv", make_texts(1, ["a"]))
    with pytest.raises(DataError, match=r"client 'north': only 1 of the 2 examples"):
        load_site(DataSpec(), one, "north")
    with pytest.raises(DataError, match=r"client 'north': no column 'y' .label-column = 'y'"):
        load_site(DataSpec(label_column="y"), one, "north")
    with pytest.raises(
        DataError, match=r"client 'north': data-path = 'one.csv' is a relative path"
    ):
        load_site(DataSpec(), "one.csv", "north")
    with pytest.raises(DataError, match=r"client 'north': data-path = '/no/such' does not exist"):
        load_site(DataSpec(), "/no/such", "north")
    only_test = write("odd/test.csv", make_texts(4, ["a"])).parent
    with pytest.raises(DataError, match=r"client 'north': .* has no train split, only test"):
        load_site(DataSpec(), only_test, "north")
    image_folder("mixed/train", {"a": 3})
    mixed = write("mixed/test/x.csv", make_texts(4, ["a"])).parent.parent
    with pytest.raises(DataError, match=r"client 'north': the train split holds image"):
        load_site(DataSpec(), mixed, "north")


def test_fixed_labels(write: Write, make_texts: Write) -> None:
    path = write("rows.csv", make_texts(10, ["a", "b"]))
    load_site(DataSpec(labels=("b", "a", "c")), path, "north")
    with pytest.raises(DataError, match=r"client 'north': label 'b' in column 'label' is unknown"):
        load_site(DataSpec(labels=("a", "c")), path, "north")


def test_a_class_unknown_to_the_model(write: Write, make_texts: Write) -> None:
    data = load_site(DataSpec(), write("rows.csv", make_texts(10, ["a", "cat"])), "north")
    with pytest.raises(DataError, match=r"client 'north': label 'cat' .*did you mean 'cats'"):
        data.train.label_ids(["a", "cats"])


def test_server_data_prefers_its_test_split(write: Write, make_texts: Write) -> None:
    write("server/train.csv", make_texts(9, ["a", "b"]))
    path = write("server/test.csv", make_texts(4, ["a", "b"])).parent
    test = load_server_test(DataSpec(dataset="/unused", server_data_path=str(path)))
    assert test is not None
    assert len(test) == 4
    lone = write("lone.csv", make_texts(5, ["a"]))
    assert len(load_server_test(DataSpec(server_data_path=str(lone))) or []) == 5
    with pytest.raises(DataError, match=r"server's test set: label 'b'"):
        load_server_test(DataSpec(server_data_path=str(path), labels=("a",)))
    with pytest.raises(DataError, match=r"server-data-path = 'x' is a relative path"):
        load_server_test(DataSpec(server_data_path="x"))


def test_public_data(write: Write, make_texts: Write) -> None:
    write("public/test.csv", make_texts(4, ["a", "b"]))
    path = write("public/train.csv", make_texts(9, ["a", "b"])).parent
    assert len(load_public(DataSpec(public_data=str(path))) or []) == 9
    assert load_public(DataSpec(public_data="")) is None
    assert load_public(DataSpec(public_data="10%")) is None
    # A fifth of 1797 digits is the server's, a tenth of the other 1438 public.
    assert len(load_public(DataSpec(public_data="10%", needs_public=True)) or []) == 144


def test_a_site_without_a_group_column_has_unknown_groups(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "train.csv"
    path.write_text("text,label,sex\n" + "".join(f"word {i},{i % 2},f\n" for i in range(8)))
    spec = DataSpec(group_columns=("sex", "race"), test_fraction=0.25)
    data = load_site(spec, tmp_path, "north")
    assert data.train.group_values() == {"sex": ["f"] * 6, "race": ["unknown"] * 6}
    assert describe_client(data)["groups"] == {"sex": ["f"], "race": ["unknown"]}
    assert "client 'north': no column 'race' (group-columns)" in caplog.text
