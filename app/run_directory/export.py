"""Writing adapters: folders that PEFT loads, each with a card that says what it is."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from logging import WARNING

import numpy as np
from flwr.supercore import log

from app.report.model_card import model_card
from app.run_directory.directory import ARTIFACTS, RunDirectory
from app.server.federation import Federation
from app.settings import Settings
from models.bases.variants import Variant
from models.checkpoint import companions
from models.errors import one_line
from models.files import write_adapter, write_bytes, write_json
from models.lora.merged import peft_settings, with_base_changes
from models.schema import NamedArrays
from strategies.base import Strategy
from strategies.rounds.record import RoundRecord
from strategies.transport.exchange import Rejection, Reply
from strategies.transport.roster import Roster

_Adapter = tuple[str, NamedArrays, Mapping[str, float], str]
"""Its place in the run directory, what is in it, its scores, and its base if not the run's own."""


def export_artifacts(directory: RunDirectory, strategy: Strategy) -> None:
    """Write ``artifacts.safetensors``: the arrays that a method keeps beside the adapter."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(array) for name, array in strategy.artifacts().items()}
    if arrays:
        write_bytes(directory.path / ARTIFACTS, save(arrays))


def export_adapter(
    directory: RunDirectory,
    federation: Federation,
    settings: Settings,
    strategy: Strategy,
    last: RoundRecord,
) -> None:
    """Write ``adapter/``, and ``base/`` where the base is embedded; nothing without a global model.

    A method with several models leaves ``clusters/<number>/adapter/`` for each, and what the report
    draws of them in ``clusters.json``.

    Parameters
    ----------
    directory : RunDirectory
    federation : Federation
    settings : Settings
    strategy : Strategy
        Trained.
    last : RoundRecord
        Its scores go into the card.
    """
    found: list[_Adapter] = []
    if strategy.serves_all:
        scores = {**last.server_metrics, **last.client_metrics}
        found.append(("adapter", strategy.exported, scores, ""))
    for cluster, arrays in strategy.clustered_models.items():
        place = f"clusters/{cluster}/adapter"
        found.append((place, arrays, last.clusters.get(str(cluster), {}), ""))
    drawing = strategy.drawing()
    if drawing:
        write_json(directory.path / "clusters.json", dict(drawing))
    _write(directory, federation, settings, strategy, found, last)


def export_collected(
    directory: RunDirectory,
    federation: Federation,
    settings: Settings,
    strategy: Strategy,
    collected: Iterable[Reply | Rejection],
    last: RoundRecord,
) -> None:
    """Write ``clients/<name>/adapter/`` for every client that gave the adapter it uses.

    ``bases/`` has the embedded bases that are not the run's own, once each.
    """
    given = _given(collected, federation.roster)
    _write(directory, federation, settings, strategy, given, last)


def _given(collected: Iterable[Reply | Rejection], roster: Roster) -> Iterator[_Adapter]:
    for item in collected:
        if isinstance(item, Rejection) or item.arrays is None:
            reason = item.detail if isinstance(item, Rejection) else "it sent none"
            log(WARNING, "no adapter of %s: %s", one_line(item.client, 80), one_line(reason))
        else:
            place = f"clients/{folder_name(item.client)}/adapter"
            yield place, item.arrays, {"clients": 1.0}, roster[item.client].variant


def folder_name(client: str) -> str:
    """Return a folder's name for a client's id, which may be any text."""
    plain = re.sub(r"[^\w-]+", "_", client)[:60]
    mark = hashlib.sha256(client.encode()).hexdigest()[:8]
    return plain if plain == client else f"{plain}-{mark}"


def _write(
    directory: RunDirectory,
    federation: Federation,
    settings: Settings,
    strategy: Strategy,
    found: Iterable[_Adapter],
    last: RoundRecord,
) -> None:
    kept: dict[str, str] = {}
    for place, arrays, scores, variant in found:
        known = federation.built(settings, variant)
        if known is None:
            continue
        base, model = known
        own = f"bases/{folder_name(variant)}" if variant else "base"
        if variant not in kept:
            # A cut base has no name that others could load it by.
            kept[variant] = str(base.folder) if Variant.parse(base.model).depth else base.model
            if base.embedded:
                kept[variant] = str(directory.keep_base(base.folder, own))
        config = model.peft_config(kept[variant])
        if strategy.changes is not None and strategy.base_version:
            arrays = with_base_changes(arrays, strategy.changes, strategy.base_version)
        if arrays.schema.facts.get("rank") != model.schema.facts.get("rank"):
            config |= peft_settings(arrays.schema.facts)
        up = "../" * place.count("/")
        card = model_card(
            {
                "method": settings.strategy,
                "dataset": "each site's own data" if federation.own_data else settings.dataset,
                "kind": federation.plan.kind,
                "model": base.model,
                "labels": list(federation.plan.labels),
                "num_clients": int(scores.get("clients", len(federation.roster))),
                "rounds": last.round,
                "seed": settings.seed,
                "groups": json.loads(str(model.schema.facts.get("groups", "[]"))),
                "base_path": f"{up}../{own}" if base.embedded else base.model,
                "scores": scores,
            }
        )
        write_adapter(directory.path / place, arrays, config, card)
        # A site has the tokenizer already, and hundreds of copies would outweigh the adapters.
        for file in () if place.startswith("clients/") else companions(federation.base.folder):
            shutil.copyfile(file, directory.path / place / file.name)
