"""The spec and its JSON."""

from __future__ import annotations

import pytest

from clients.data import DataSpec, public_share
from models.errors import ConfigurationError, DataError


def test_json_round_trip_is_equal_and_hashable() -> None:
    spec = DataSpec(
        dataset="/data/x",
        group_columns=("sex", "race"),
        partition_args=(("alpha", 0.5), ("shift", "rotation"), ("balanced", True)),
        labels=("a", "b"),
    )
    again = DataSpec.from_json(spec.to_json())
    assert again == spec
    assert hash(again) == hash(spec)
    assert again.arguments == {"alpha": 0.5, "shift": "rotation", "balanced": True}


def test_unknown_key_names_the_nearest() -> None:
    with pytest.raises(DataError, match=r"unknown key 'datset': did you mean 'dataset'"):
        DataSpec.from_json('{"datset": "digits"}')


@pytest.mark.parametrize("text", ["[]", "{", "3"])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"the data settings are not"):
        DataSpec.from_json(text)


@pytest.mark.parametrize(
    ("text", "share"), [("10%", 0.1), ("2.5 %", 0.025), ("", None), ("/data/public", None)]
)
def test_public_share(text: str, share: float | None) -> None:
    assert public_share(text) == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize("text", ["0%", "100%", "10", "data/public", "-5%", "%"])
def test_wrong_public_share_says_what_is_allowed(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"allowed: a share"):
        public_share(text)
