"""``bouquet profile``: how the clients differ, and which methods are made for it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.cli.merging import merge
from app.compare.cells import plan_cells
from app.compare.contestants import parse_contestants
from app.profile.advice import AWAY, CONCEPTS, FEATURES, LABELS, SIZES, Advice, Profile, advise
from app.profile.measures import Measured
from app.registry import registry
from app.report.wording import UNKNOWN
from app.settings import parse_run_config
from models.errors import ConfigurationError


def show_profile(
    files: Sequence[Path], words: Sequence[str], embed: bool, as_json: bool, console: Console
) -> None:
    """Print how clients differ, each figure beside its rule of thumb, and what follows.

    Raises
    ------
    ConfigurationError, DataError, ModelError
        Settings, data or base will not do.
    """
    from app.profile.looking import look

    config = merge(files, words)
    profile = look(parse_run_config(config, registry()), embed)
    found = able(advise(profile), profile, config)
    if as_json:
        told = [{**asdict(one), "papers": papers(one)} for one in found]
        console.print_json(json.dumps({"profile": asdict(profile), "advice": told}))
        return
    console.print(_table(profile))
    for number, one in enumerate(found, start=1):
        console.print(Text(f"{number}. {one.family}: {', '.join(one.methods)}", style="bold"))
        console.print(Text(f"   {one.reason}"), soft_wrap=True)
        for paper in papers(one):
            console.print(Text(f"   {paper}", style="dim"), soft_wrap=True)
    methods = ",".join(dict.fromkeys(m for one in found for m in one.methods))
    given = [word for file in files for word in ("-c", str(file))]
    command = ["bouquet", "compare", *given, *words, "--methods", methods, "--seeds", "3"]
    console.print(Text(f"Try them: {shlex.join(command)}"), soft_wrap=True)


def able(found: Sequence[Advice], profile: Profile, config: Mapping[str, object]) -> list[Advice]:
    """Leave out what could not run here, such as a mean of adapters of different models."""
    kept = []
    for one in found:
        methods = tuple(method for method in one.methods if _runs(method, profile, config))
        if methods:
            kept.append(replace(one, methods=methods))
    return kept


def _runs(method: str, profile: Profile, config: Mapping[str, object]) -> bool:
    (one,) = parse_contestants(method)
    presets = {one.preset: merge([], [one.preset])} if one.preset else {}
    try:
        first, *_ = plan_cells("profile", config, [one], presets, 1, Path.cwd())
        settings = parse_run_config(first.config, registry())
    except ConfigurationError:
        return False
    strategy = registry().compose(settings.methods, settings.method_options)
    return (strategy.takes_ranks or not profile.ranks) and (
        strategy.takes_models or not profile.models
    )


def papers(advice: Advice) -> list[str]:
    """Return the papers of the methods that are advised."""
    known = registry()
    names = (m.removeprefix("preset:").partition("(")[0] for m in advice.methods)
    there = [name for name in names if name in known.method_names()]
    return list(dict.fromkeys(known[name].paper for name in there if known[name].paper))


def _table(profile: Profile) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=f"{profile.clients} clients", title_justify="left")
    for heading in ("", "value", "by chance", "large above"):
        table.add_column(heading, justify="left" if not heading else "right")
    labels, features, concepts = profile.labels, profile.features, profile.concepts
    rows: list[tuple[str, float | Measured | None, str]] = [
        ("Label skew: total variation", labels, f"{LABELS:.0%} of the rest"),
        ("Size skew: Gini", profile.sizes, f"{SIZES}"),
        ("Feature skew within labels", features, f"{FEATURES:.0%} of the rest"),
        ("Concept conflict", concepts, f"{CONCEPTS}"),
        ("Availability", profile.availability, f"below {AWAY}"),
    ]
    for name, found, large in rows:
        chance = found.chance if isinstance(found, Measured) else None
        value = found.value if isinstance(found, Measured) else found
        table.add_row(name, _number(value), _number(chance), large)
    return table


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3f}"
