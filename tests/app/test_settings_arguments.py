"""The ``*-args`` language: read, written, refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings import (
    parse_arguments,
    parse_composition,
    render_arguments,
    split_method_args,
)
from models.errors import ConfigurationError

names = st.text(min_size=1, max_size=8)
scalars = (
    st.text()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
nested = st.dictionaries(
    names,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


@given(nested)
def test_rendered_arguments_read_back_equal(arguments: dict[str, object]) -> None:
    assert parse_arguments(render_arguments(arguments)) == arguments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("beta=0.2", {"beta": 0.2}),
        ("a=1, b = true,\n c='x, y'", {"a": 1, "b": True, "c": "x, y"}),
        ("a=1\nb=2\n\n", {"a": 1, "b": 2}),
        (
            "fedstale.beta=0.2, adaptive-clusters.threshold=5, fedstale.warm=1",
            {"fedstale": {"beta": 0.2, "warm": 1}, "adaptive-clusters": {"threshold": 5}},
        ),
        (
            "alpha=auto, column=client, path=/data/x",
            {"alpha": "auto", "column": "client"} | {"path": "/data/x"},
        ),
        ("ranks=[4, 8], t={a=1, b=[2]}", {"ranks": [4, 8], "t": {"a": 1, "b": [2]}}),
        ('q="a\\"b,c"', {"q": 'a"b,c'}),
        ("e=1e-3", {"e": 0.001}),
    ],
)
def test_arguments(text: str, expected: dict[str, object]) -> None:
    parsed = parse_arguments(text)
    assert parsed == expected
    assert [type(v) for v in parsed.values()] == [type(v) for v in expected.values()]


@pytest.mark.parametrize(
    ("text", "piece", "reason"),
    [
        ("a=1, beta", "'beta'", "expected key=value"),
        ("beta=", "'beta='", "no value after '='; write beta=VALUE"),
        ("beta=.2", "'beta=.2'", "the value is not TOML"),
        ("beta=two words", "'beta=two words'", "the value is not TOML"),
        ("b!=word", "'b!=word'", "the key may hold letters"),
        ("a=1, a=2", "'a=2'", "'a' is given twice"),
        ("a.b=1, a.b=2", "'a.b=2'", "'a.b' is given twice"),
        ("a=nan", "'a=nan'", "nan is not a finite number"),
        ("a=[1.0, -inf]", "'a=[1.0, -inf]'", "-inf is not a finite number"),
        ("a=2024-01-01", "'a=2024-01-01'", "dates and times are not allowed"),
        ("[a=1", "'[a=1'", "expected key=value"),
        ('a="open', "'a=\"open'", "the value is not TOML"),
    ],
)
def test_a_piece_that_fails_is_shown(text: str, piece: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_arguments(text)
    assert len(caught.value.errors) == 1
    assert caught.value.errors[0].startswith(f"{piece}: {reason}")


def test_all_failing_pieces_are_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_arguments("a, b=1, c")
    assert [line.partition(":")[0] for line in caught.value.errors] == ["'a'", "'c'"]


def test_a_secret_in_a_failing_piece_is_not_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_arguments("hub.token=abc def")
    assert "abc" not in str(caught.value)
    assert caught.value.errors[0].startswith("'hub.token=***'")


def test_composition() -> None:
    assert parse_composition("fedavg") == ("fedavg",)
    assert parse_composition(" a>b  > c ") == ("a", "b", "c")


@pytest.mark.parametrize("text", ["", "a >", "> a", "a > > b"])
def test_composition_without_a_name(text: str) -> None:
    with pytest.raises(ConfigurationError, match="lacks a method's name"):
        parse_composition(text)


def test_composition_with_a_name_twice() -> None:
    with pytest.raises(ConfigurationError, match="names a twice"):
        parse_composition("a > b > a")


def test_options_go_to_their_methods() -> None:
    args = parse_arguments("fedstale.beta=0.2, fedopt.tau=1")
    assert split_method_args(args, ["fedopt", "fedstale", "fedavg"]) == {
        "fedopt": {"tau": 1},
        "fedstale": {"beta": 0.2},
        "fedavg": {},
    }


@pytest.mark.parametrize("text", ["beta=0.2", "fedstale.beta=0.2"])
def test_one_method_needs_no_prefix(text: str) -> None:
    assert split_method_args(parse_arguments(text), ["fedstale"]) == {"fedstale": {"beta": 0.2}}


@pytest.mark.parametrize(
    ("text", "methods", "message"),
    [
        (
            "beta=1",
            ["fedstale", "fedavg"],
            "'beta' must say whose option it is, as in 'fedstale.beta'; methods: fedstale, fedavg",
        ),
        (
            "fedstal.beta=1",
            ["fedstale"],
            "'fedstal.' is no method of the strategy; did you mean 'fedstale'? known: fedstale",
        ),
        (
            "beta=1, fedstale.beta=2",
            ["fedstale"],
            "'beta' is given with and without the prefix 'fedstale.'",
        ),
    ],
)
def test_options_of_nobody(text: str, methods: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        split_method_args(parse_arguments(text), methods)
    assert caught.value.errors == [message]
