"""Which client's vector of which moment lies where: a small SQLite table.

Moments are integers that grow. Changes are durable, all or none, at `commit`; until then one
transaction holds them, and whoever opens the file after a crash finds the last commit. No query but
`live` and `slots` looks at more rows than were written at the moments it is asked about.
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
    moment INTEGER NOT NULL,
    examples REAL NOT NULL,
    slot INTEGER,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (client, moment)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_moment ON versions (moment);
"""

_SUPERSEDED = """
DELETE FROM versions WHERE (client, moment) IN (
    SELECT old.client, old.moment FROM versions AS new
    CROSS JOIN versions AS old ON old.client = new.client AND old.moment < new.moment
    WHERE new.moment > :after AND new.moment <= :until
) RETURNING *
"""

_LEFT = """
DELETE FROM versions WHERE moment > :after AND moment <= :until AND slot IS NULL
"""

_LIVE = """
SELECT client, max(moment), examples, slot, checksum FROM versions
WHERE client > :client AND moment <= :until GROUP BY client ORDER BY client LIMIT :limit
"""
_PAGE = 1024

Fact = int | str


def start_of(server_round: int) -> int:
    """Return the moment before a round's first update: clients leave then."""
    return 2 * server_round


def end_of(server_round: int) -> int:
    """Return the moment of a round's updates."""
    return 2 * server_round + 1


class Version(NamedTuple):
    """One row: what is known of a client from a moment on; without a slot, that it left."""

    client: str
    moment: int
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
        """Add a row, or replace the one of the same client and moment."""
        self._database.execute("INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?, ?)", version)

    def newest(self, client: str, until: int) -> Version | None:
        """Return a client's newest row up to a moment."""
        return self._one("client = ? AND moment <= ? ORDER BY moment DESC LIMIT 1", client, until)

    def at(self, client: str, moment: int) -> Version | None:
        """Return a client's row of a moment."""
        return self._one("client = ? AND moment = ?", client, moment)

    def clients_at(self, moment: int) -> list[str]:
        """Return the clients that have a row of a moment."""
        query = "SELECT client FROM versions WHERE moment = ?"
        return [client for (client,) in self._database.execute(query, (moment,))]

    def last_moment(self, until: int) -> int:
        """Return the newest moment with a row up to one; 0 if there is none."""
        query = "SELECT max(moment) FROM versions WHERE moment <= ?"
        found: int | None = self._database.execute(query, (until,)).fetchone()[0]
        return found or 0

    def drop(self, clients: Iterable[str], moment: int) -> list[Version]:
        """Remove and return the rows of some clients of a moment."""
        found = [version for client in clients if (version := self.at(client, moment))]
        self._database.executemany(
            "DELETE FROM versions WHERE client = ? AND moment = ?", [v[:2] for v in found]
        )
        return found

    def drop_after(self, moment: int) -> list[Version]:
        """Remove and return all rows later than a moment."""
        query = "DELETE FROM versions WHERE moment > ? RETURNING *"
        return [Version(*row) for row in self._database.execute(query, (moment,))]

    def drop_superseded(self, after: int, until: int) -> list[Version]:
        """Remove and return the rows that rows of the moments ``after + 1 .. until`` replaced.

        Rows of these moments that say that a client left go too: nothing is under them.
        """
        place = {"after": after, "until": until}
        rows = self._database.execute(_SUPERSEDED, place).fetchall()
        self._database.execute(_LEFT, place)
        return [Version(*row) for row in rows]

    def live(self, until: int) -> Iterator[Version]:
        """Yield every client's newest row up to a moment, by client, but not of those who left."""
        client = ""
        while True:
            place = {"client": client, "until": until, "limit": _PAGE}
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
