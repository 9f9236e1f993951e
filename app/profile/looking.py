"""Looking at the clients of a scenario, without training anything."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from app.profile.advice import Profile
from app.profile.measures import Floats, concept_conflict, feature_skew, label_skew, size_skew
from app.server.planning import data_spec, find_bases
from app.settings import Settings
from clients.data import load_federation, partition_table
from clients.data.drift import NO_DRIFT
from clients.data.federation import Federation
from models.files import state_folder
from models.randomness import derive_generator
from models.tasks import Kind
from strategies.participation import Participation, make_participation
from strategies.transport.roster import Client

_CLIENTS, _ROWS = 40, 60


def look(settings: Settings, embed: bool = True) -> Profile:
    """Measure a scenario's clients.

    Parameters
    ----------
    settings : Settings
        Of a divided data set.
    embed : bool
        Whether images or texts go through the frozen base: at most 60 rows of each of 40 clients.

    Raises
    ------
    DataError, ModelError
        The data or the base cannot be used.
    """
    federation = load_federation(data_spec(settings))
    rows = partition_table(federation)
    names = federation.label_names
    counts = np.array([[_count(row["labels"], name) for name in names] for row in rows], np.int64)
    sizes = [int(str(row["train"])) for row in rows]
    generator = derive_generator(settings.seed, "profile")
    kind = federation.client(federation.client_ids[0]).train.columns.kind
    embed = embed and len(names) > 1 and kind in ("image", "text")
    found = _embedded(federation, settings, kind) if embed else None
    there = _availability(settings, federation, sizes)
    return Profile(
        clients=len(rows),
        labels=label_skew(counts, generator) if len(names) > 1 else None,
        sizes=size_skew(sizes),
        smallest=min(sizes),
        features=feature_skew(*found, generator) if found else None,
        concepts=concept_conflict(*found) if found else None,
        availability=None if None in there else float(np.mean([p or 0.0 for p in there])),
        uneven=len({round(p, 6) for p in there if p is not None}) > 1,
        ranks=bool(settings.rank_args),
        models=bool(settings.variants),
        groups=settings.group_columns,
        drifts=settings.drift != NO_DRIFT,
    )


def _count(labels: object, name: str) -> int:
    return int(labels.get(name, 0)) if isinstance(labels, Mapping) else 0


def _availability(
    settings: Settings, federation: Federation, sizes: list[int]
) -> list[float | None]:
    """Return each client's probability of answering, as the scenario of participation says."""
    scenario: Participation = make_participation(
        settings.participation,
        settings.participation_args,
        settings.seed,
        federation.label_names,
    )
    if scenario.everybody:
        return [1.0 for _ in sizes]
    clients = (Client(c, 0, n, 0) for c, n in zip(federation.client_ids, sizes, strict=True))
    return [scenario.probability(client) for client in clients]


def _embedded(
    federation: Federation, settings: Settings, kind: Kind
) -> tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return features by the frozen base, labels and owners of some rows of some clients."""
    from clients.data.embeddings.features import FrozenFeatures

    bases = state_folder(settings.state_dir) / "bases"
    clients = federation.client_ids[:_CLIENTS]
    base, _ = find_bases(settings, kind, bases, own_data=False)
    frozen = FrozenFeatures(base.folder, kind)
    places = {name: code for code, name in enumerate(federation.label_names)}
    features, labels, owners = [], [], []
    for number, client in enumerate(clients):
        train = federation.client(client).train
        order = derive_generator(settings.seed, "profile", client).permutation(len(train))
        some = train.chosen(np.sort(order[:_ROWS]))
        features.append(frozen.of(some))
        labels += [places[name] for name in some.label_names_of_rows()]
        owners += [number] * len(some)
    return np.concatenate(features).astype(np.float64), np.array(labels), np.array(owners)
