"""Tables: which columns are read, missing cells, missing columns, pooling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from clients.data import DataSpec, load_federation, load_site
from clients.data.pooling import pool
from clients.data.reading import make_table, read_path
from models.errors import DataError

Write = Callable[..., Path]
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


def people(count: int = 12) -> dict[str, list[object]]:
    return {
        "age": [20 + row for row in range(count)],
        "work": [("a", "b", None)[row % 3] for row in range(count)],
        "site": [f"s{row % 2}" for row in range(count)],
        "sex": [("f", "m")[row % 2] for row in range(count)],
        "label": [row // 2 % 2 for row in range(count)],
    }


def test_all_columns_but_label_groups_and_clients_are_read(write: Write) -> None:
    path = write("rows.csv", people())
    spec = DataSpec(
        dataset=str(path), group_columns=("sex",), partition="natural-id",
        partition_args=(("column", "site"),),
    )  # fmt: skip
    federation = load_federation(spec)
    assert (federation.columns.kind, federation.columns.inputs) == ("table", ("age", "work"))
    assert str(federation.columns) == "table in columns 'age', 'work'"
    cells = federation.client("site-s0").train.cells(("work", "age"))
    assert list(cells) == ["work", "age"]
    assert all((age - 20) % 2 == 0 for age in cells["age"])
    assert None in cells["work"]
    named = load_federation(replace(spec, table_columns=("sex", "age")))
    assert named.columns.inputs == ("sex", "age")


@pytest.mark.parametrize(
    ("drop", "settings", "message"),
    [
        ((), {"table_columns": ("aeg",)}, "no column 'aeg' .table-columns = 'aeg'.; did you mean"),
        ((), {"table_columns": ("label",)}, "'label' .table-columns. holds the label"),
        (("age", "work", "site"), {}, "no input column found"),
    ],
)
def test_columns_that_cannot_be_read(
    write: Write, drop: tuple[str, ...], settings: dict[str, object], message: str
) -> None:
    rows = {name: values for name, values in people().items() if name not in drop}
    splits = read_path(write("rows.parquet", rows), "x")
    with pytest.raises(DataError, match=message):
        make_table(
            splits["train"], DataSpec(group_columns=("sex",), **settings), "client 'a'", "train"
        )  # type: ignore[arg-type]


def test_a_site_that_lacks_a_column_of_the_base_is_told_which(write: Write) -> None:
    rows = {name: values for name, values in people().items() if name != "work"}
    data = load_site(DataSpec(), write("rows.csv", rows), "hospital-a")
    with pytest.raises(DataError, match=r"client 'hospital-a': no column 'work', which the base"):
        data.train.cells(("age", "work"))


def test_pooled_tables_agree_on_numbers_that_one_site_has_gaps_in(write: Write) -> None:
    spec = DataSpec(group_columns=("sex",))
    gaps = people() | {"age": [None, *range(21, 32)]}
    sites = [
        load_site(spec, write("a/rows.csv", people()), "a"),
        load_site(spec, write("b/rows.csv", gaps), "b"),
    ]
    pooled = pool(sites)
    ages = [age for part in (pooled.train, pooled.test) for age in part.cells(("age",))["age"]]
    assert sorted(age for age in ages if age is not None) == sorted(
        [*range(20, 32), *range(21, 32)]
    )
    assert sum(age is None for age in ages) == 1
    bare = {name: values for name, values in people().items() if name not in ("work", "age")}
    sites.append(load_site(spec, write("c/rows.csv", bare), "c"))
    with pytest.raises(DataError, match="some have no column 'age'"):
        pool(sites)


def test_the_embedded_table() -> None:
    spec = DataSpec(dataset="breast-cancer", group_columns=("outline",), partition_args=())
    federation = load_federation(replace(spec, partition="iid", num_clients=3))
    assert federation.label_names == ("benign", "malignant")
    assert len(federation.columns.inputs) == 30
    assert "outline" not in federation.columns.inputs
    pooled = federation.pooled()
    rows = len(pooled.train) + len(pooled.test) + len(federation.server_test or ())
    assert rows == 569
    assert set(pooled.train.group_values()["outline"]) == {"plain", "medium", "ragged"}


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")
def test_real_table() -> None:
    spec = DataSpec(
        dataset=str(SHARED / "adult"), group_columns=("sex", "race"), num_clients=5,
        partition="iid", partition_args=(), needs_public=True,
    )  # fmt: skip
    federation = load_federation(spec)
    assert len(federation.columns.inputs) == 12
    assert len(federation.public or ()) == 3256
    assert len(federation.server_test or ()) == 16281
