"""What a client says of its data: a small JSON card, kept so that a hello loads nothing."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
from pathlib import Path

from clients.data.examples import ClientData, counts_by_label
from clients.data.sources import absolute_path, identity
from clients.data.spec import DataSpec

_LOG = logging.getLogger(__name__)
_FORMAT = 1


def describe_client(data: ClientData) -> dict[str, object]:
    """Return a client's card: plain JSON values only.

    Returns
    -------
    dict
        ``client``, ``examples``, ``test_examples``, ``labels`` (names present, in order),
        ``label_counts`` (over both parts), ``groups`` (values present, by column), ``kind``
        (``"text"``, ``"image"`` or ``"table"``) and ``concept`` (int or None).
    """
    counts = counts_by_label(data)
    groups: dict[str, list[str]] = {}
    for part in (data.train, data.test):
        for column, values in part.group_values().items():
            groups[column] = sorted({*groups.get(column, []), *values})
    return {
        "client": data.client_id,
        "examples": len(data.train),
        "test_examples": len(data.test),
        "labels": list(counts),
        "label_counts": counts,
        "groups": groups,
        "kind": data.train.columns.kind,
        "concept": data.concept,
    }


def site_card(
    spec: DataSpec, data_path: str | Path, client_id: str, cache_dir: str | Path
) -> dict[str, object]:
    """Return the card of a node's own data, from the cache if the data has not changed.

    A cached card costs a look at the files' sizes and times; nothing heavier than numpy is
    imported.

    Parameters
    ----------
    spec : DataSpec
        As for `load_site`.
    data_path : str or Path
        Absolute path of a file or folder.
    client_id : str
        Stable id of the client.
    cache_dir : str or Path
        Folder of the cache; made if missing. One that cannot be written only costs time.

    Raises
    ------
    DataError
        As `load_site`.
    """
    path = absolute_path(str(data_path), f"client '{client_id}'", "data-path")
    what = json.dumps([_FORMAT, spec.to_json(), client_id, identity(path)])
    digest = hashlib.sha256(what.encode()).hexdigest()[:32]
    plain = re.sub(r"[^\w.-]+", "_", client_id)[:64]
    file = Path(cache_dir) / f"card-{plain}-{digest}.json"
    try:
        card = json.loads(file.read_text("utf-8"))
        if isinstance(card, dict) and card.get("client") == client_id:
            return card
    except (OSError, ValueError):
        _LOG.debug("no usable card in %s", file)
    # Only here: the loader itself is light, but what it opens data with takes seconds.
    from clients.data.site import load_site

    card = describe_client(load_site(spec, path, client_id))
    try:
        _write(file, json.dumps(card, sort_keys=True))
    except OSError as error:
        _LOG.warning("cannot keep the card of client '%s' in %s: %s", client_id, file, error)
    return card


def _write(file: Path, text: str) -> None:
    """Write a file such that a reader finds all of it or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".card-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(file)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
