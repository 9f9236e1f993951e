"""The tables of a run: rounds, clients, participation, clusters, counts by group."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from models.files import GrowingTable, write_text
from strategies.rounds.record import Ledger, RoundRecord
from strategies.transport.exchange import Training
from strategies.transport.roster import Roster, natural_key

CLIENT_COLUMNS = (
    "client",
    "node",
    "examples",
    "test_examples",
    "concept",
    "rank",
    "model",
    "rounds",
    "last_round",
    "accuracy_before",
    "accuracy_after",
    "accuracy_shared",
    "bytes_up",
    "bytes_down",
    "rejected",
    "cluster",
)


EVENT_COLUMNS = ("round", "client", "base_round", "sent", "arrived", "outcome")
"""One line a training that ended: in which round, from which round's model, in clock seconds."""


class Results:
    """The tables of one strategy's run: the main one's, or a baseline's.

    They are written anew after each round, and not flushed to the disk: a checkpoint holds them.
    Only ``participation.csv``, ``clusters.csv`` and ``events.csv`` grow line by line.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lines: list[str] = []
        self._participation = GrowingTable(
            folder / "participation.csv", ("round", "client", "outcome")
        )
        self._clusters = GrowingTable(folder / "clusters.csv", ("round", "client", "cluster"))
        self._events = GrowingTable(folder / "events.csv", EVENT_COLUMNS)

    def add(self, record: RoundRecord) -> None:
        """Append a round to ``metrics.jsonl``."""
        self._lines.append(json.dumps(record.to_dict()))
        self._add_participation(record)
        self._clusters.add(record.round, record.assignment.items())
        self._events.add(record.round, [_event(training) for training in record.trainings])
        write_text(self.folder / "metrics.jsonl", "\n".join(self._lines) + "\n", durable=False)
        groups = {c: part.to_json(scores=False) for c, part in record.fairness.counts.items()}
        self._write_newest("groups.json", record.round, groups)
        self._write_newest("classes.json", record.round, record.classes)

    def _write_newest(self, name: str, server_round: int, clients: Mapping[str, object]) -> None:
        """Write each client's counts at the newest evaluation, if there are any."""
        if clients:
            text = json.dumps({"round": server_round, "clients": clients})
            write_text(self.folder / name, text, durable=False)

    def keep(self, lines: Sequence[str], last: int) -> None:
        """Start from the rounds of a run that is resumed, up to `last`; forget later ones."""
        self._lines = list(lines)
        for table in (self._participation, self._clusters, self._events):
            table.keep(last)
        write_text(self.folder / "metrics.jsonl", "\n".join(self._lines) + "\n", durable=False)

    @property
    def lines(self) -> list[str]:
        """The rounds so far, as JSON."""
        return list(self._lines)

    def _add_participation(self, record: RoundRecord) -> None:
        """Append who was asked in a round, and what came of it."""
        if not record.cohort:
            return
        answered = frozenset(record.answered)
        lost = {r.client: r.code for r in record.rejected if r.client not in answered}
        self._participation.add(
            record.round,
            [
                (client, "answered" if client in answered else lost.get(client, "lost"))
                for client in record.cohort
            ],
        )

    def clients(
        self, roster: Roster, ledger: Ledger, assignment: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        """Write ``clients.csv``; `assignment` is the clusters that clients are in."""
        out = io.StringIO()
        table = csv.writer(out)
        known = sorted({*roster.ids, *ledger.accounts}, key=natural_key)
        names = [name for name in known if not name.startswith("@")]
        fairness = list(dict.fromkeys(key for name in names for key in ledger.of(name).fairness))
        table.writerow([*CLIENT_COLUMNS, *fairness])
        for name in names:
            figures = ledger.of(name).fairness
            own = ["" if (value := figures.get(key)) is None else value for key in fairness]
            table.writerow([*_row(name, roster, ledger), assignment.get(name, ""), *own])
        write_text(self.folder / "clients.csv", out.getvalue(), durable=False)


def _event(training: Training) -> tuple[object, ...]:
    t = training
    return (t.client, t.base_round, t.sent, t.arrived, t.outcome)


def _row(name: str, roster: Roster, ledger: Ledger) -> list[object]:
    account = ledger.of(name)
    known = roster[name] if name in roster else None  # noqa: SIM401 (a roster is no dict)
    node = roster.nodes.get(known.node) if known else None
    values: list[object] = [
        name,
        node.stream if node else None,
        known.examples if known else None,
        known.test_examples if known else None,
        known.concept if known else None,
        known.rank if known else None,
        (known.variant or None) if known else None,
        account.rounds,
        account.last_round or None,
        account.accuracy_before,
        account.accuracy_after,
        account.accuracy_shared,
        account.bytes_up,
        account.bytes_down,
        account.rejected,
    ]
    return ["" if value is None else value for value in values]
