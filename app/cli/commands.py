"""The commands and their help; each hands over to a module of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from app.settings import declared_keys
from models.errors import BouquetError

_EXIT_CODES = """Exit codes: 0 the run finished; 1 the run failed, or died without saying why;
2 configuration; 3 data; 4 model or adapter; 5 too few clients or nodes; 6 run directory;
7 a client; 8 stopped by a signal; 130 no longer followed (Ctrl-C), the run goes on."""

main = typer.Typer(
    name="bouquet",
    help="Federated fine-tuning for clients that differ, on Flower.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # locals may hold a token
)

Words = Annotated[list[str] | None, typer.Argument(metavar="[PRESET|KEY=VALUE]...")]
Files = Annotated[
    list[Path] | None,
    typer.Option("-c", "--config", metavar="FILE", help="TOML file, before the presets."),
]


@main.command(epilog=_EXIT_CODES)
def run(
    words: Words = None,
    config: Files = None,
    on: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="SuperLink connection; else Flower's default."),
    ] = None,
    federation_config: Annotated[
        list[str] | None,
        typer.Option(
            help="Passed to flwr, such as 'num-supernodes=8 client-resources-num-cpus=1'."
        ),
    ] = None,
) -> None:
    """Train: check the settings, run with Flower, follow, and tell how it ended.

    PRESET is a name in conf/ or a TOML file; what stands later wins. KEY=VALUE sets one setting
    (see 'bouquet settings') and wins over presets: bouquet run fedprox seed=7 num-clients=50
    """
    from app.cli.run import run_federation

    console = Console()
    with _errors_for_people():
        code = run_federation(config or [], words or [], on, federation_config or [], console)
    raise typer.Exit(code)


@main.command(epilog="Exit codes: 0 all runs finished; 1 some failed; 2 configuration; 130 Ctrl-C.")
def compare(
    methods: Annotated[
        str,
        typer.Option(
            metavar="A,B,...",
            help="Methods: fedavg, ifca(clusters=4) > fedit, preset:NAME; local is added.",
        ),
    ],
    words: Words = None,
    config: Files = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="Seeds, from the scenario's on.")] = 1,
    target: Annotated[
        float | None,
        typer.Option(metavar="ACCURACY", help="Bytes are counted up to it; else what all reach."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where it all goes.")] = None,
    federation_config: Annotated[
        list[str] | None,
        typer.Option(help="Passed to flwr, such as 'num-supernodes=8'."),
    ] = None,
) -> None:
    """Compare methods on the same clients: one table, one report, with intervals over seeds.

    PRESET and KEY=VALUE are the scenario, as in 'bouquet run'. What is finished is not run again,
    what was cut is continued: bouquet compare digits --methods fedavg,fedstale,flexlora --seeds 3
    """
    from app.cli.comparing.command import compare_methods

    console = Console()
    with _errors_for_people():
        code = compare_methods(
            *(config or [], words or [], methods, seeds, target, out),
            *(federation_config or [], console),
        )
    raise typer.Exit(code)


@main.command(epilog="Exit codes: 0 done; 2 configuration; 3 data; 4 model.")
def profile(
    words: Words = None,
    config: Files = None,
    embed: Annotated[
        bool, typer.Option(help="Whether rows go through the frozen base model.")
    ] = True,
    output: Annotated[
        Literal["text", "json"], typer.Option("--format", help="How it is printed.")
    ] = "text",
) -> None:
    """Look at the clients without training, and suggest which family of methods fits, and why.

    PRESET and KEY=VALUE are the scenario, as in 'bouquet run': bouquet profile digits num-clients=9
    """
    from app.cli.profile import show_profile

    with _errors_for_people():
        show_profile(config or [], words or [], embed, output == "json", Console())


@main.command(epilog="Exit codes: 0 no problem; 1 something is to be mended; 2 configuration.")
def doctor(
    words: Words = None,
    config: Files = None,
    node: Annotated[
        str | None,
        typer.Option(metavar="CONFIG", help="Check this machine as a node with this node-config."),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Check this SuperLink, and its nodes by a rehearsal."),
    ] = None,
    output: Annotated[
        Literal["text", "json"], typer.Option("--format", help="How it is printed.")
    ] = "text",
) -> None:
    """Check the installation and a federation before a run; every finding comes with its remedy.

    PRESET and KEY=VALUE are the run to come, as in 'bouquet run'. A rehearsal greets and prepares
    the nodes as a run does, and trains nothing: bouquet doctor digits --on lab
    """
    from app.cli.doctor import examine

    console = Console()
    with _errors_for_people():
        code = examine(config or [], words or [], node, on, output == "json", console)
    raise typer.Exit(code)


@main.command(epilog="Exit codes: 0 done; 6 one is no run directory, or cannot be understood.")
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories.")],
) -> None:
    """Draw the reports of runs again."""
    from app.report import write_report

    code = 0
    for folder in runs:  # one that cannot be read keeps no other from being drawn
        try:
            with _errors_for_people():
                typer.echo(write_report(folder.absolute()))
        except typer.Exit as end:
            code = code or end.exit_code
    raise typer.Exit(code)


@main.command(epilog="Exit codes: 0 done; 2 configuration; 3 data.")
def partition(
    words: Words = None,
    config: Files = None,
    out: Annotated[Path | None, typer.Option(metavar="PNG", help="Where the picture goes.")] = None,
) -> None:
    """Show how the data fall to the clients: a table and the label distribution as a picture.

    PRESET is a name in conf/ or a TOML file; what stands later wins. KEY=VALUE sets one setting
    and wins over presets: bouquet partition mnist dataset=/data/mnist
    """
    from app.cli.partition import show_partition

    with _errors_for_people():
        show_partition(config or [], words or [], out, Console())


@main.command(epilog="Exit codes: 0 done; 4 no adapter, or a rank that is not below its own.")
def squeeze(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory or adapter folder.")],
    rank: Annotated[int, typer.Option(metavar="N", help="The rank to cut to.")],
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where it goes.")] = None,
) -> None:
    """Cut a LoRA adapter to its best approximation of a lower rank (LoRA-Squeeze)."""
    from app.cli.squeeze import squeeze_adapter

    with _errors_for_people():
        squeeze_adapter(run.absolute(), rank, out, Console())


@main.command(epilog="Exit codes: 0 done; 2 no such group; 4 no adapter, or not one for this.")
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory or adapter folder.")],
    group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=WEIGHT]",
            help="A group as the model treats it; or weights of several; none: all alike.",
        ),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Add the adapter to the base: one plain checkpoint.")
    ] = False,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where it goes.")] = None,
) -> None:
    """Write a run's model in another form: merged into its base, or for one group.

    A FairLoRA adapter for one group, or a mixture, becomes a LoRA that PEFT alone loads. With
    --merge the folder holds a whole model with its tokenizer, which needs no PEFT.
    """
    from app.cli.exports.groups import export_group
    from app.cli.exports.merged import export_merged

    console = Console()
    with _errors_for_people():
        adapter = run.absolute()
        if group or not merge:
            adapter = export_group(adapter, group or [], None if merge else out, console)
        if merge:
            export_merged(adapter, out, console)


class Format(StrEnum):
    """How a list is written."""

    TABLE = "table"
    JSON = "json"


@main.command(epilog="Exit codes: 0 done; 2 no such method.")
def methods(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[METHOD]...", help="Only these; else all.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="For people, or for programs.")] = (
        Format.TABLE
    ),
) -> None:
    """List the methods: what each does, its paper, what travels, what it needs, its options.

    Methods of installed packages are named with their package; one that cannot be used is named
    with the reason.
    """
    from app.cli.methods import methods_as_json, show_methods

    with _errors_for_people():
        if form is Format.JSON:
            typer.echo(methods_as_json(names or []))
        else:
            show_methods(names or [], Console())


@main.command("new-method", epilog="Exit codes: 0 done; 2 a name or folder that will not do.")
def new_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the method, as 'my-method'.")],
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where it goes.")] = None,
) -> None:
    """Write a small package with a method of your own: it installs, runs and passes its tests."""
    from app.cli.new_method import write_method

    with _errors_for_people():
        write_method(name, out, Console())


@main.command()
def settings() -> None:
    """List every setting with its default and what it allows."""
    table = Table("setting", "default", "allowed", "what it does")
    for key in declared_keys().values():
        default = str(key.default).lower() if isinstance(key.default, bool) else str(key.default)
        table.add_row(key.name, default, key.allowed, key.help)
    Console().print(table)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bouquet {version('fedbouquet')}")
        raise typer.Exit


@main.callback()
def _bouquet(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Federated fine-tuning for clients that differ, on Flower."""


@contextmanager
def _errors_for_people() -> Iterator[None]:
    try:
        yield
    except BouquetError as error:
        console = Console(file=sys.stderr)
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(error.code) from None
