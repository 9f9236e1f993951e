"""Which client's vector of which round lies where: a small SQLite table.

Changes are durable, all or none, at `commit`; until then one transaction holds them, and whoever
opens the file after a crash finds the last commit. No query but `live` and `slots` looks at more
rows than the rounds it is asked about wrote.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS versions (
    client TEXT NOT NULL,
    round INTEGER NOT NULL,
    examples REAL NOT NULL,
    slot INTEGER,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (client, round)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_round ON versions (round);
"""

_SUPERSEDED = """
DELETE FROM versions WHERE (client, round) IN (
    SELECT old.client, old.round FROM versions AS new
    CROSS JOIN versions AS old ON old.client = new.client AND old.round < new.round
    WHERE new.round > :after AND new.round <= :oldest
) RETURNING client, round, examples, slot, checksum
"""

_LIVE = """
SELECT client, round, examples, slot, checksum FROM (
    SELECT client, max(round) AS round, examples, slot, checksum FROM versions
    WHERE client > :client AND round < :before GROUP BY client ORDER BY client LIMIT :limit
)
"""
_PAGE = 1024

Fact = int | str


class Version(NamedTuple):
    """One row: what a client left in a round; without a slot, that it left."""

    client: str
    round: int
    examples: float
    slot: int | None
    checksum: int


class VersionTable:
    """The table, held by this process alone.

    Parameters
    ----------
    path : Path
        Made if missing.

    Raises
    ------
    sqlite3.Error
        By every method: held by another process, damaged, no room.
    """

    def __init__(self, path: Path) -> None:
        # Closing may be left to the end of the process, and so to another thread.
        self._database = sqlite3.connect(
            path, timeout=1.0, isolation_level=None, check_same_thread=False
        )
        try:
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = TRUNCATE")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("PRAGMA cache_size = -8192")
            self._database.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.split(";"):
                self._database.execute(statement)
        except BaseException:
            self._database.close()
            raise

    def commit(self) -> None:
        """Make everything so far durable."""
        self._database.execute("COMMIT")
        self._database.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        """Close the file; what was not committed is forgotten."""
        self._database.close()

    def facts(self) -> dict[str, Fact]:
        """Return the plain values kept beside the rows."""
        return dict(self._database.execute("SELECT name, value FROM facts"))

    def note(self, name: str, value: Fact) -> None:
        """Keep a plain value."""
        self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def put(self, version: Version) -> None:
        """Add a row, or replace the one of the same client and round."""
        self._database.execute("INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?, ?)", version)

    def newest(self, client: str, before: int) -> Version | None:
        """Return a client's newest row of the rounds before one."""
        return self._one("client = ? AND round < ? ORDER BY round DESC LIMIT 1", client, before)

    def at(self, client: str, server_round: int) -> Version | None:
        """Return a client's row of a round."""
        return self._one("client = ? AND round = ?", client, server_round)

    def of_round(self, server_round: int) -> list[str]:
        """Return the clients that have a row of a round."""
        query = "SELECT client FROM versions WHERE round = ?"
        return [client for (client,) in self._database.execute(query, (server_round,))]

    def drop(self, clients: Iterable[str], server_round: int) -> list[Version]:
        """Remove and return the rows of some clients of a round."""
        found = [v for client in clients if (v := self.at(client, server_round))]
        self._database.executemany(
            "DELETE FROM versions WHERE client = ? AND round = ?", [v[:2] for v in found]
        )
        return found

    def drop_after(self, server_round: int) -> list[Version]:
        """Remove and return the rows of all rounds after one."""
        query = "DELETE FROM versions WHERE round > ? RETURNING *"
        return [Version(*row) for row in self._database.execute(query, (server_round,))]

    def drop_superseded(self, after: int, oldest: int) -> list[Version]:
        """Remove and return the rows that rows of the rounds ``after + 1 .. oldest`` replaced.

        Of these rounds' rows those that say that a client left go too: nothing is under them.
        """
        place = {"after": after, "oldest": oldest}
        rows = self._database.execute(_SUPERSEDED, place).fetchall()
        self._database.execute(
            "DELETE FROM versions WHERE round > :after AND round <= :oldest AND slot IS NULL", place
        )
        return [Version(*row) for row in rows]

    def live(self, before: int) -> Iterator[Version]:
        """Yield every client's newest row of the rounds before one, by client."""
        client = ""
        while True:
            place = {"client": client, "before": before, "limit": _PAGE}
            rows = [Version(*row) for row in self._database.execute(_LIVE, place)]
            yield from (row for row in rows if row.slot is not None)
            if len(rows) < _PAGE:
                return
            client = rows[-1].client

    def slots(self) -> Iterator[int]:
        """Yield the slots in use."""
        query = "SELECT slot FROM versions WHERE slot IS NOT NULL"
        return (slot for (slot,) in self._database.execute(query))

    def _one(self, where: str, *values: str | int) -> Version | None:
        row = self._database.execute(f"SELECT * FROM versions WHERE {where}", values).fetchone()
        return Version(*row) if row else None
