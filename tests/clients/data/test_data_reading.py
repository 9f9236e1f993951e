"""Finding files, opening them, and finding their columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest

from clients.data import DataSpec
from clients.data.columns import Columns, find_columns
from clients.data.reading import make_table, read_dataset, read_path
from clients.data.sources import find_splits, identity
from models.errors import DataError

Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["data.csv"], {"train": 1}),
        (["a.csv", "b.csv"], {"train": 2}),
        (["train.csv", "test.csv"], {"train": 1, "test": 1}),
        (["train-0-of-2.csv", "train-1-of-2.csv", "val.csv"], {"train": 2, "validation": 1}),
        (["train/x.csv", "test/y.csv", "dev/z.csv"], {"train": 1, "test": 1, "validation": 1}),
        (["data/train-0.csv", "data/test-0.csv", "dataset_info.json"], {"train": 1, "test": 1}),
        (["data.csv", "README.md", ".hidden.csv"], {"train": 1}),
    ],
)
def test_splits_by_name(tmp_path: Path, files: list[str], splits: dict[str, int]) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_splits(tmp_path, "x")
    assert {name: len(split.files) for name, split in found.items()} == splits


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "client 'a': no data in .* it may hold .parquet, .csv"),
        (["notes.txt"], "client 'a': no data in"),
        (["a.csv", "b.parquet"], r"mixes formats \(csv, parquet\)"),
        (["train.csv", "extra.csv"], "'extra.csv' does not; start every file name with train"),
        (["train/readme.md", "test/x.csv"], "client 'a': no data in"),
    ],
)
def test_folders_that_make_no_sense(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=message):
        find_splits(tmp_path, "client 'a'")


def test_identity_follows_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    before = identity(tmp_path)
    assert identity(tmp_path) == before
    (tmp_path / "a.csv").write_text("xy")
    after = identity(tmp_path)
    assert after != before
    (tmp_path / "b.csv").write_text("")
    assert identity(tmp_path) not in (before, after)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "json", "jsonl"])
def test_formats(write: Write, make_texts: Write, suffix: str) -> None:
    path = write(f"rows.{suffix}", make_texts(6, ["no", "yes"]))
    table = make_table(read_path(path, "x")["train"], DataSpec(), "x", "train")
    assert table.columns == Columns("text", ("text",), "label", ())
    assert table.label_names == ("no", "yes")
    assert table.label_codes.tolist() == [0, 1] * 3
    assert table.dataset[5]["text"] == "sentence 5"


def test_csv_names_that_pandas_takes_for_missing(write: Write, make_texts: Write) -> None:
    path = write("rows.csv", make_texts(4, ["None", "NA"]))
    assert make_table(read_path(path, "x")["train"], DataSpec(), "x", "train").label_names == (
        "NA",
        "None",
    )


def test_csv_labels_that_turn_into_names_late(write: Write) -> None:
    rows = 25_000
    path = write("rows.csv", {"text": ["t" * 20] * rows, "label": ["1"] * (rows - 1) + ["other"]})
    table = make_table(read_path(path, "x")["train"], DataSpec(), "x", "train")
    assert table.label_names == ("1", "other")
    assert np.bincount(table.label_codes).tolist() == [rows - 1, 1]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_a_file_that_is_changed_is_read_anew(write: Write, make_texts: Write, suffix: str) -> None:
    first = read_path(write(f"rows.{suffix}", make_texts(4, ["a"])), "x")["train"]
    second = read_path(write(f"rows.{suffix}", make_texts(9, ["a"])), "x")["train"]
    assert (len(first), len(second)) == (4, 9)
    keys = [make_table(data, DataSpec(), "x", "train").key for data in (first, second)]
    assert keys[0] != keys[1]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_file_names_are_no_patterns(write: Write, make_texts: Write, suffix: str) -> None:
    path = write(f"site [1] {{a,b}}*/100% ä?.{suffix}", make_texts(4, ["a"]))
    assert len(read_path(path.parent, "x")["train"]) == 4


def test_several_files_are_one_split(write: Write, make_texts: Write) -> None:
    for number in range(3):
        path = write(f"d/train-{number}.parquet", make_texts(2, [number]))
    table = make_table(read_path(path.parent, "x")["train"], DataSpec(), "x", "train")
    assert table.label_codes.tolist() == [0, 0, 1, 1, 2, 2]


def test_broken_and_empty_files(tmp_path: Path, write: Write) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"client 'a': cannot read .*broken.parquet as parquet"):
        read_path(broken, "client 'a'")
    with pytest.raises(DataError, match=r"client 'a': .*empty.parquet"):
        read_path(write("empty.parquet", {"text": [], "label": []}), "client 'a'")


def test_image_folder(image_folder: Write) -> None:
    path = image_folder("pictures", {"cat": 2, "dog": 3})
    table = make_table(read_path(path, "x")["train"], DataSpec(), "x", "train")
    assert table.columns == Columns("image", ("image",), "label", ())
    assert table.label_names == ("cat", "dog")
    assert table.label_codes.tolist() == [0, 0, 1, 1, 1]
    assert np.asarray(table.dataset[4]["image"]).tolist() == [[4] * 4] * 4


def test_image_folder_with_splits_and_one_class(image_folder: Write) -> None:
    image_folder("pictures/train", {"cat": 2})
    path = image_folder("pictures/test", {"cat": 1}).parent
    found = read_path(path, "x")
    assert {name: len(data) for name, data in found.items()} == {"train": 2, "test": 1}
    assert make_table(found["test"], DataSpec(), "x", "test").label_names == ("cat",)


def test_images_at_two_depths(image_folder: Write) -> None:
    image_folder("pictures", {"cat": 1})
    path = image_folder("pictures/more", {"dog": 1}).parent
    with pytest.raises(DataError, match=r"images lie at different depths"):
        read_path(path, "x")


def test_plain_encoded_bytes_decode(tmp_path: Path, image_folder: Write) -> None:
    import pandas as pd

    file = next((image_folder("pictures", {"cat": 1}) / "cat").iterdir())
    pd.DataFrame({"img": [file.read_bytes()] * 2, "label": [0, 1]}).to_parquet(
        tmp_path / "x.parquet"
    )
    table = make_table(read_path(tmp_path / "x.parquet", "x")["train"], DataSpec(), "x", "train")
    assert table.columns.kind == "image"
    assert table.dataset[1]["img"].size == (4, 4)


def test_digits() -> None:
    table = make_table(read_dataset(DataSpec())["train"], DataSpec(), "digits", "train")
    image = table.dataset[0]["image"]
    assert (len(table), image.mode, image.size) == (1797, "L", (8, 8))
    assert table.label_names == tuple("0123456789")
    # scikit-learn's first digit, a zero, begins 0 0 5 13 9 1 0 0 of 16.
    assert np.asarray(image)[0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]
    assert table.key == "digits:train:image"


def test_digits_as_a_binary_task_with_groups() -> None:
    spec = DataSpec(label_column="parity", group_columns=("ink",))
    table = make_table(read_dataset(spec)["train"], spec, "digits", "train")
    assert table.label_names == ("even", "odd")
    values, counts = np.unique(table.groups["ink"], return_counts=True)
    assert values.tolist() == ["heavy", "light", "medium"]
    assert counts.sum() == 1797
    assert counts.min() > 580


@pytest.mark.parametrize("name", ["./rows", "rows.d/", "~/rows", "a/b/c", "../rows", "a b"])
def test_relative_paths_are_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"relative paths are refused because .* Give"):
        read_dataset(DataSpec(dataset=name))


def test_a_folder_here_is_not_taken_for_a_hub_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mydata").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"relative path"):
        read_dataset(DataSpec(dataset="mydata"))


def test_a_path_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"dataset = '/no/such/folder' does not exist"):
        read_dataset(DataSpec(dataset="/no/such/folder"))


def test_hub_without_network_says_what_else_works(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(*args: object) -> None:
        asked.append(args)
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    message = (
        "'org/name:small' could not be loaded .* reach the Hub.*absolute path of a local folder"
    )
    with pytest.raises(DataError, match=message):
        read_dataset(DataSpec(dataset="org/name:small"))
    assert asked == [("org/name", "small")]


def test_hub_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    split = datasets.Dataset.from_dict({"text": ["a"], "label": [0]})
    loaded = datasets.DatasetDict(train=split, test=split)
    monkeypatch.setattr(datasets, "load_dataset", lambda *args: loaded)
    assert list(read_dataset(DataSpec(dataset="name"))) == ["train", "test"]


CLASS = datasets.ClassLabel(names=["a", "b"])
TEXT = datasets.Value("string")
NUMBER = datasets.Value("int64")


@pytest.mark.parametrize(
    ("features", "spec", "columns"),
    [
        ({"Text": TEXT, "LABEL": NUMBER}, {}, ("text", "Text", "LABEL")),
        ({"sentence": TEXT, "intent": TEXT}, {}, ("text", "sentence", "intent")),
        ({"content": TEXT, "kind": CLASS}, {}, ("text", "content", "kind")),
        ({"text": TEXT, "label": NUMBER, "kind": CLASS}, {}, ("text", "text", "label")),
        ({"img": datasets.Image(), "text": TEXT, "label": CLASS}, {}, ("image", "img", "label")),
        ({"scan": datasets.Image(), "label": CLASS}, {}, ("image", "scan", "label")),
        (
            {"image": datasets.Image(), "words": TEXT, "label": CLASS},
            {"text_column": "words"},
            ("text", "words", "label"),
        ),
        ({"text": TEXT, "who": TEXT}, {"label_column": "who"}, ("text", "text", "who")),
        ({"text": TEXT, "content": TEXT}, {"label_column": "text"}, ("text", "content", "text")),
        (
            {"text": TEXT, "a": CLASS, "b": CLASS},
            {"group_columns": ("a",)},
            ("text", "text", "b"),
        ),
        (
            {"age": NUMBER, "when": datasets.Sequence(TEXT), "label": CLASS},
            {},
            ("table", "age", "label"),
        ),
    ],
)
def test_columns(
    features: dict[str, object], spec: dict[str, object], columns: tuple[str, str, str]
) -> None:
    empty = datasets.Dataset.from_dict(
        {name: [] for name in features}, features=datasets.Features(features)
    )
    found = find_columns(empty, DataSpec(**spec), "x")  # type: ignore[arg-type]
    assert (found.kind, found.input, found.label) == columns


@pytest.mark.parametrize(
    ("features", "spec", "message"),
    [
        (
            {"text": TEXT, "label": NUMBER},
            {"label_column": "lable"},
            "client 'a': no column 'lable' .label-column = 'lable'.; did you mean 'label'",
        ),
        ({"text": TEXT, "label": NUMBER}, {"text_column": "body"}, "Set text-column to one of"),
        ({"text": TEXT, "label": NUMBER}, {"image_column": "x"}, "Set image-column to one of"),
        ({"text": TEXT, "label": NUMBER}, {"group_columns": ("sex",)}, "Set group-columns to one"),
        (
            {"text": TEXT, "y": NUMBER},
            {},
            "client 'a': no label column found.*Columns there: text, y",
        ),
        ({"text": TEXT, "a": CLASS, "b": CLASS}, {}, "several could be it: a, b.*Set label-column"),
        (
            {"label": CLASS},
            {},
            "client 'a': no input column.*Set text-column, image-column or table-columns",
        ),
        ({"age": NUMBER, "label": CLASS}, {"text_column": "age"}, "holds int64, not text"),
        ({"text": TEXT, "label": CLASS}, {"image_column": "text"}, "holds string, not images"),
        (
            {"text": TEXT, "image": datasets.Image(), "label": CLASS},
            {"image_column": "image", "text_column": "text"},
            "are both set",
        ),
    ],
)
def test_columns_that_are_wrong(
    features: dict[str, object], spec: dict[str, object], message: str
) -> None:
    empty = datasets.Dataset.from_dict(
        {name: [] for name in features}, features=datasets.Features(features)
    )
    with pytest.raises(DataError, match=message):
        find_columns(empty, DataSpec(**spec), "client 'a'")  # type: ignore[arg-type]


def test_empty_inputs_are_refused(write: Write) -> None:
    path = write("x.jsonl", {"text": ["a", None, "c"], "label": [0, 1, 0]})
    with pytest.raises(DataError, match=r"client 'a': column 'text' is empty in 1 of 3 rows"):
        make_table(read_path(path, "client 'a'")["train"], DataSpec(), "client 'a'", "train")
