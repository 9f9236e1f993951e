"""Reading a run directory back, tolerant of what an unfinished run has not written yet.

Text in these files comes from other people's machines. It is cleaned here, once, so that nothing
behind this file meets a control character, a terminal escape or half a surrogate pair.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load

from app.report.cells import decimal, table_rows, whole
from app.report.clock.reading import read_timeline
from app.report.clusters.reading import read_clusters
from app.report.participation import Participation
from app.report.record import (
    SCORES,
    ClientRow,
    Finding,
    Groups,
    GroupScore,
    Round,
    RunRecord,
    View,
    clean,
)
from app.run_directory import ARTIFACTS
from models.errors import RunDirectoryError
from models.fairness.counts import GroupCounts
from strategies.transport.roster import natural_key

_RATES = frozenset({"positives", "auc", "tpr", "fpr", "selection_rate"})


def read_run(run_dir: Path) -> RunRecord:
    """Read a run directory.

    Parameters
    ----------
    run_dir : Path
        What the run left behind. Only ``metrics.jsonl`` or ``config.toml`` has to be there.

    Raises
    ------
    RunDirectoryError
        The folder is no run directory, or one of its files cannot be understood.
    """
    if not any((run_dir / name).is_file() for name in ("metrics.jsonl", "config.toml")):
        raise RunDirectoryError(
            f"{run_dir} is no run directory: neither metrics.jsonl nor config.toml is in it. "
            "Give the folder that the run printed at its start."
        )
    labels = _read_object(run_dir / "labels.json")
    models = _read_object(run_dir / "models.json")
    config = _read_config(run_dir / "config.toml")
    if labels.get("own_data") is True:
        # The setting names what a simulation would have divided; here it was not used.
        config = {**config, "dataset": "each site's own data"}
    named = labels.get("labels")
    counts = labels.get("clients")
    rounds = _read_rounds(run_dir / "metrics.jsonl")
    clients = _read_clients(run_dir / "clients.csv")
    names = tuple(clean(str(name)) for name in named) if isinstance(named, list) else ()
    return RunRecord(
        directory=run_dir,
        config=config,
        status=_read_object(run_dir / "status.json"),
        rounds=rounds,
        clients=clients,
        labels=names,
        classes=_read_classes(run_dir / "classes.json", names),
        adapter_bytes=whole(models.get("adapter_bytes")),
        label_counts={
            clean(client): {clean(label): whole(n) or 0 for label, n in row.items()}
            for client, row in (counts.items() if isinstance(counts, dict) else ())
            if isinstance(row, dict)
        },
        baselines=_read_baselines(run_dir / "baselines"),
        counts=_read_counts(run_dir / "groups.json"),
        participation=_read_participation(run_dir / "participation.csv", rounds, clients),
        artifacts=_read_artifacts(run_dir / ARTIFACTS),
        drifts=_read_drifts(run_dir / "drift.csv"),
        clusters=read_clusters(
            run_dir,
            max((line.number for line in rounds), default=0),
            {row.client: row.concept for row in clients},
        ),
        timeline=read_timeline(
            run_dir,
            {line.number: line.clock for line in rounds if line.clock is not None},
            max((line.number for line in rounds), default=0),
            [row.client for row in clients],
        ),
    )


def _read_artifacts(path: Path) -> Mapping[str, npt.NDArray[np.floating]]:
    if not path.is_file():
        return {}
    try:
        found: Mapping[str, npt.NDArray[np.floating]] = load(path.read_bytes())
    except (SafetensorError, ValueError) as error:
        raise RunDirectoryError(f"{path} is no safetensors file: {error}") from error
    return found


def _read_baselines(folder: Path) -> dict[str, RunRecord]:
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return {clean(p.name): read_run(p) for p in found if (p / "metrics.jsonl").is_file()}


def _read_config(path: Path) -> Mapping[str, object]:
    try:
        return tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RunDirectoryError(f"{path} is not valid TOML: {error}") from error


def _read_object(path: Path) -> Mapping[str, object]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunDirectoryError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise RunDirectoryError(f"{path} holds {type(content).__name__}, expected a JSON object")
    return content


def _read_rounds(path: Path) -> tuple[Round, ...]:
    lines = path.read_text("utf-8", errors="replace").splitlines() if path.is_file() else []
    rounds: dict[int, Round] = {}
    for position, line in enumerate(lines, start=1):
        try:
            content = json.loads(line) if line.strip() else None
        except json.JSONDecodeError as error:
            if position == len(lines):  # a server killed while writing leaves half a last line
                break
            raise RunDirectoryError(f"{path}, line {position}: not valid JSON: {error}") from error
        if isinstance(content, dict):
            one = _round(content, default=position - 1)
            rounds[one.number] = one  # a resumed run may write a round again: the newest counts
    return tuple(rounds[number] for number in sorted(rounds))


def _round(content: Mapping[str, object], default: int) -> Round:
    number = whole(content.get("round"))
    number = default if number is None else number
    scores = {name: decimal(content.get(name)) for name in SCORES}
    return Round(
        number=number,
        scores={name: value for name, value in scores.items() if value is not None},
        groups=_groups(content.get("groups")),
        fairness=_views(content.get("fairness")),
        figures=_figures(content.get("method")),
        bytes_up=whole(content.get("bytes_up")) or 0,
        bytes_down=whole(content.get("bytes_down")) or 0,
        seconds=decimal(content.get("seconds")) or 0.0,
        clock=decimal(content.get("virtual_seconds")),
        asked=whole(content.get("clients_asked")) or 0,
        answered=whole(content.get("clients_answered")) or 0,
        rejected=_findings(content.get("rejected"), number),
        remarks=_findings(content.get("remarks"), number),
    )


def _findings(entries: object, number: int) -> tuple[Finding, ...]:
    listed = entries if isinstance(entries, list) else ()
    return tuple(_finding(entry, number) for entry in listed if isinstance(entry, dict))


def _finding(entry: Mapping[str, object], number: int) -> Finding:
    said = whole(entry.get("round"))
    client, code, detail = (clean(str(entry.get(k) or "")) for k in ("client", "code", "detail"))
    return Finding(client, number if said is None else said, code or "unknown", detail)


def _groups(content: object) -> Groups:
    columns: dict[str, dict[str, GroupScore]] = {}
    for column, values in content.items() if isinstance(content, dict) else ():
        for value, said in values.items() if isinstance(values, dict) else ():
            if not isinstance(said, dict):
                continue
            accuracy = decimal(said.get("accuracy"))
            if accuracy is not None or said.get("accuracy", "") is None:  # none: too few examples
                rates = {key: value for key, value in _figures(said).items() if key in _RATES}
                score = GroupScore(accuracy, whole(said.get("examples")) or 0, rates)
                columns.setdefault(clean(column), {})[clean(value)] = score
    return columns


def _views(content: object) -> dict[str, View]:
    views: dict[str, View] = {}
    for name, said in content.items() if isinstance(content, dict) else ():
        if isinstance(said, dict):
            listed = said.get("undefined")
            small = listed if isinstance(listed, list) else ()
            figures = {key: value for key, value in said.items() if key != "worst_group"}
            views[clean(name)] = View(
                _figures(figures),
                clean(str(said.get("worst_group") or "")),
                tuple(clean(str(group)) for group in small),
            )
    return views


def _read_counts(path: Path) -> dict[str, GroupCounts]:
    """Read the clients' counts by group; those that cannot be read are left out."""
    clients = _read_object(path).get("clients")
    found: dict[str, GroupCounts] = {}
    for client, said in clients.items() if isinstance(clients, dict) else ():
        with suppress(ValueError):
            found[clean(client)] = GroupCounts.from_json(_cleaned(said))
    return found


def _read_classes(path: Path, labels: tuple[str, ...]) -> dict[str, dict[str, tuple[int, int]]]:
    """Read correct and all examples by client and label; what cannot be read is left out."""
    clients = _read_object(path).get("clients")
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for client, said in clients.items() if isinstance(clients, dict) else ():
        for number, pair in said.items() if isinstance(said, dict) else ():
            label, both = whole(number), pair if isinstance(pair, list) else ()
            counts = [n for n in map(whole, both) if n is not None]
            if label is not None and 0 <= label < len(labels) and len(counts) == 2 and counts[1]:
                found.setdefault(clean(client), {})[labels[label]] = (counts[0], counts[1])
    return found


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return {k: _cleaned(v) for k, v in value.items()} if isinstance(value, dict) else value


def _figures(content: object) -> Mapping[str, float]:
    said = content.items() if isinstance(content, dict) else ()
    found = {clean(name): decimal(value) for name, value in said}
    return {name: value for name, value in found.items() if value is not None}


def _read_clients(path: Path) -> tuple[ClientRow, ...]:
    if not path.is_file():
        return ()
    return tuple(
        _client(row) for row in table_rows(path, path.read_text("utf-8", errors="replace"))
    )


def _client(row: Mapping[str, str | None]) -> ClientRow:
    return ClientRow(
        client=clean(row.get("client") or ""),
        node=clean(row.get("node") or ""),
        examples=whole(row.get("examples")),
        test_examples=whole(row.get("test_examples")),
        concept=clean(row.get("concept") or ""),
        model=clean(row.get("model") or ""),
        rounds=whole(row.get("rounds")),
        last_round=whole(row.get("last_round")),
        before=decimal(row.get("accuracy_before")),
        after=decimal(row.get("accuracy_after")),
        bytes_up=whole(row.get("bytes_up")),
        bytes_down=whole(row.get("bytes_down")),
        rejected=whole(row.get("rejected")),
        shared=decimal(row.get("accuracy_shared")),
    )


def _read_participation(
    path: Path, rounds: tuple[Round, ...], rows: tuple[ClientRow, ...]
) -> Participation | None:
    """Read who was asked and who answered, in rounds that have a line of their own."""
    if not path.is_file():
        return None
    last = max((line.number for line in rounds), default=0)
    text = path.read_text("utf-8", errors="replace")
    complete = text[: text.rfind("\n") + 1]  # a server killed while writing leaves half a last line
    cleaned: dict[str, str] = {}
    asked: list[tuple[str, int, bool]] = []
    for row in table_rows(path, complete):
        name, number = row.get("client") or "", whole(row.get("round"))
        if number is None or not 1 <= number <= last or not name or name.startswith("@"):
            continue
        client = cleaned.get(name) or cleaned.setdefault(name, clean(name))
        asked.append((client, number, row.get("outcome") == "answered"))
    if not asked:
        return None
    known = [row.client for row in rows]
    names = [*known, *sorted(set(cleaned.values()).difference(known), key=natural_key)]
    places = {name: place for place, name in enumerate(names)}
    # A resumed run may write a round again: the newest counts.
    table = np.array([(places[name], *rest) for name, *rest in asked], np.int64)[::-1]
    _, newest = np.unique(table[:, 0] * (last + 1) + table[:, 1], return_index=True)
    client, when, answered = table[newest].T
    return Participation(tuple(names), last, client, when, answered.astype(bool))


def _read_drifts(path: Path) -> dict[int, str]:
    """Read in which rounds data drifted, and how."""
    kinds: dict[int, set[str]] = {}
    text = path.read_text("utf-8", errors="replace") if path.is_file() else ""
    for row in table_rows(path, text):
        first, kind = whole(row.get("first_round")), row.get("drift")
        if first is not None and first > 1 and kind in ("real", "virtual", "label"):
            kinds.setdefault(first, set()).add(kind)
    return {first: ", ".join(sorted(found)) for first, found in sorted(kinds.items())}
