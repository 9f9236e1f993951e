"""Checks across settings: known names, their options, and contradictions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from app.settings.catalogue import MethodCatalogue
from app.settings.composition import split_method_args
from app.settings.groups import comparison_errors
from app.settings.ranks import rank_errors
from app.settings.settings import Settings
from app.settings.tasks import task_findings
from app.settings.values import variant_errors
from app.trackers.names import TRACKERS
from clients.data.drift import NO_DRIFT, validate_drift
from clients.model_args import model_arg_errors
from clients.plan import optimizer_arg_errors
from models.adapters import Lora
from models.errors import ConfigurationError, nearest
from strategies.participation import BY_SECOND
from strategies.rounds.closing import closing_names, closing_option_errors

BASELINES = ("local", "global")

Finding = tuple[tuple[str, ...], str]
"""The keys a check has read, the one to blame first, and what is wrong."""
OptionCheck = Callable[[str, Mapping[str, object]], list[str]]


def find_contradictions(settings: Settings, catalogue: MethodCatalogue) -> list[Finding]:
    """Return what is wrong between settings that are each well-formed.

    Parameters
    ----------
    settings : Settings
        Settings whose values have the right type and range.
    catalogue : MethodCatalogue
        Says which methods, objectives, adapters, scenarios and partitions there are.
    """
    return [
        *_strategy(settings, catalogue),
        *_strategy_args(settings, catalogue),
        *_named(
            "adapter",
            settings.adapter,
            settings.adapter_args,
            catalogue.adapter_names(),
            catalogue.adapter_option_errors,
        ),
        *_named(
            "participation",
            settings.participation,
            settings.participation_args,
            catalogue.participation_names(),
            catalogue.participation_option_errors,
        ),
        *_closing(settings, catalogue),
        *_named(
            "population",
            settings.population,
            settings.population_args,
            catalogue.population_names(),
            catalogue.population_option_errors,
        ),
        *_clock(settings),
        *_ranks(settings),
        *_objective(settings, catalogue),
        *_optimizer(settings),
        *_learning_rate(settings),
        *_model(settings),
        *_partition(settings, catalogue),
        *_drift(settings),
        *_cohort(settings),
        *_data(settings),
        *task_findings(settings, catalogue),
    ]


def _strategy(settings: Settings, catalogue: MethodCatalogue) -> list[Finding]:
    known = set(catalogue.method_names())
    names = settings.methods
    lines = [catalogue.missing_method(name) for name in names if name not in known]
    lines += [
        f"'{name}' does not wrap another method, so it can only stand last"
        for name in names[:-1]
        if name in known and not catalogue.is_wrapper(name)
    ]
    return [(("strategy",), line) for line in lines]


def _strategy_args(settings: Settings, catalogue: MethodCatalogue) -> list[Finding]:
    keys = ("strategy-args", "strategy")
    known = set(catalogue.method_names())
    try:
        options = split_method_args(settings.strategy_args, settings.methods)
    except ConfigurationError as error:
        return [(keys, line) for line in error.errors]
    lines = [
        f"method '{name}': {line}"
        for name, given in options.items()
        if name in known
        for line in catalogue.option_errors(name, given)
    ]
    # What is misspelt or misplaced was said before.
    if not lines and not _strategy(settings, catalogue):
        lines = catalogue.composition_errors(settings.methods, options)
    return [(keys, line) for line in lines]


def _named(
    key: str, name: str, args: Mapping[str, object], known: Collection[str], check: OptionCheck
) -> list[Finding]:
    if name not in known:
        return [((key,), f"no {key} '{name}'; {nearest(name, known)}")]
    return [((f"{key}-args", key), f"{key} '{name}': {line}") for line in check(name, args)]


def _closing(settings: Settings, catalogue: MethodCatalogue) -> list[Finding]:
    if _strategy(settings, catalogue) or _strategy_args(settings, catalogue):
        return []  # what is put together wrongly was said before
    methods, options = settings.methods, settings.method_options
    name = settings.closing or catalogue.closing_of(methods, options)
    args = settings.closing_args
    findings = _named("closing", name, args, closing_names(), closing_option_errors)
    if not findings:
        lines = catalogue.closing_errors(name, methods, options)
        findings = [(("closing", "strategy"), f"under '{name}', {line}") for line in lines]
    return findings


def _clock(settings: Settings) -> list[Finding]:
    if settings.clock == "virtual":
        return []
    said = "says something of a virtual clock only; set clock='virtual'"
    findings: list[Finding] = []
    if settings.participation in BY_SECOND:
        findings.append((("participation", "clock"), f"'{settings.participation}' {said}"))
    if settings.population != Settings.model_fields["population"].default:
        findings.append((("population", "clock"), said))
    if settings.population_args:
        findings.append((("population-args", "clock"), said))
    return findings


def _ranks(settings: Settings) -> list[Finding]:
    largest = settings.adapter_args.get("rank", Lora.model_fields["rank"].default)
    lines = rank_errors(settings.rank_args, largest if settings.adapter == "lora" else None)
    return [(("rank-args", "adapter-args"), line) for line in lines]


def _objective(settings: Settings, catalogue: MethodCatalogue) -> list[Finding]:
    name, known = settings.objective, set(catalogue.method_names())
    if not name and settings.objective_args and known.issuperset(settings.methods):
        own = catalogue.objective_of(settings.methods)
        name = "" if own == "cross-entropy" else own
    if name:
        unlike: list[Finding] = [
            (("objective", "group-columns"), line) for line in comparison_errors(settings, name)
        ]
        return unlike + _named(
            "objective",
            name,
            settings.objective_args,
            catalogue.objective_names(),
            catalogue.objective_option_errors,
        )
    if settings.objective_args:
        objectives = ", ".join(sorted(catalogue.objective_names()))
        return [
            (
                ("objective-args", "objective"),
                f"options without an objective; name it in objective (known: {objectives}), "
                "or give the method's own options in strategy-args",
            )
        ]
    return []


def _optimizer(settings: Settings) -> list[Finding]:
    lines = optimizer_arg_errors(settings.optimizer, settings.optimizer_args)
    keys = ("optimizer-args", "optimizer")
    return [(keys, f"optimizer '{settings.optimizer}': {line}") for line in lines]


def _learning_rate(settings: Settings) -> list[Finding]:
    least, rate = settings.least_learning_rate, settings.learning_rate
    keys = ("least-learning-rate", "learning-rate", "learning-rate-schedule")
    if least and settings.learning_rate_schedule == "constant":
        return [(keys, "only a schedule ends there; set learning-rate-schedule='cosine'")]
    if least > rate:
        return [(keys, f"more than the {rate:g} of the first round (learning-rate)")]
    return []


def _model(settings: Settings) -> list[Finding]:
    lines: list[str] = []
    if "variants" in settings.model_args:
        lines = variant_errors(settings.model_args["variants"])
    if not settings.model_options:
        return [(("model-args",), line) for line in lines]
    lines += model_arg_errors(settings.model_options)
    return [(("model-args",), line) for line in lines]


def _partition(settings: Settings, catalogue: MethodCatalogue) -> list[Finding]:
    name = settings.partition
    findings: list[Finding] = []
    for line in catalogue.partition_errors(name, settings.partition_args):
        # The data's own check names the key in front; the parser does so for all.
        rest = line.removeprefix("partition-args: ")
        if rest == line:
            findings.append((("partition",), line.removeprefix(f"partition = '{name}' is ")))
        else:
            findings.append((("partition-args", "partition"), rest))
    return findings


def _drift(settings: Settings) -> list[Finding]:
    findings: list[Finding] = []
    for line in validate_drift(settings.drift, settings.drift_args):
        rest = line.removeprefix("drift-args: ")
        if rest == line:
            findings.append((("drift",), line.removeprefix(f"drift = '{settings.drift}' is ")))
        else:
            findings.append((("drift-args", "drift"), rest))
    if settings.drift != NO_DRIFT and "shift" in settings.partition_args:
        findings.append(
            (
                ("drift", "partition-args"),
                "partition-args has a shift too, and both say what a client sees; drop shift, and "
                "let groups in drift-args begin with concepts of their own",
            )
        )
    return findings


def _cohort(settings: Settings) -> list[Finding]:
    findings: list[Finding] = []
    asked, clients = settings.clients_per_round, settings.num_clients
    if settings.counts_clients and asked > clients:
        findings.append(
            (
                ("clients-per-round", "num-clients", "partition"),
                f"more than the {clients} clients there are (num-clients); at most {clients}, "
                "or 0 for all",
            )
        )
    if settings.cohort is not None and settings.quorum > settings.cohort:
        source = "clients-per-round" if asked else "num-clients"
        findings.append(
            (
                ("quorum", "clients-per-round", "num-clients", "partition"),
                f"more than the {settings.cohort} clients asked in a round ({source}), "
                f"so no round could count; at most {settings.cohort}",
            )
        )
    return findings


def _data(settings: Settings) -> list[Finding]:
    findings: list[Finding] = []
    if settings.text_column and settings.image_column:
        findings.append(
            (
                ("image-column", "text-column"),
                f"text-column is given too ('{settings.text_column}'); a model reads one of them",
            )
        )
    if settings.table_columns and (settings.text_column or settings.image_column):
        other = "text-column" if settings.text_column else "image-column"
        findings.append(
            (("table-columns", other), f"{other} is given too; a model reads either of them")
        )
    if settings.label_column and settings.label_column in settings.table_columns:
        findings.append(
            (
                ("table-columns", "label-column"),
                f"'{settings.label_column}' is the label column, which a model is to find",
            )
        )
    if settings.label_column and settings.label_column in settings.group_columns:
        findings.append(
            (
                ("group-columns", "label-column"),
                f"'{settings.label_column}' is the label column; a group is another column",
            )
        )
    findings.extend(
        (("baselines",), f"no baseline '{name}'; {nearest(name, BASELINES)}")
        for name in settings.baselines
        if name not in BASELINES
    )
    findings.extend(
        (("trackers",), f"no tracker '{name}'; {nearest(name, TRACKERS)}")
        for name in settings.trackers
        if name not in TRACKERS
    )
    if settings.resume and not settings.run_name:
        findings.append(
            (("resume", "run-name"), "which run is to be continued? give its name in run-name")
        )
    return findings
