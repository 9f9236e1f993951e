"""What an answered pack says of its clients, apart from the records it travels in.

Reading trusts nothing: what cannot be read costs the clients it belongs to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from models.errors import ClientError
from models.schema import Fact, NamedArrays, Schema

_TEXT_BYTES, _TEXT_BYTES_A_CLIENT = 4 << 20, 256 << 10
_DIGITS = 30

Row = Mapping[str, object]
_Parsed = TypeVar("_Parsed", list[object], dict[str, object])
Buffers = Mapping[str, Sequence[NamedArrays] | ClientError]


@dataclass(frozen=True)
class ClientResult:
    """One client's part of an answered pack.

    Attributes
    ----------
    client : str
    num_examples : object
        As stated; the server checks it.
    metrics : mapping
        Numbers; the server drops what is not finite.
    notes : mapping
        Structured JSON values, such as counts by group.
    arrays : NamedArrays or None
    error : tuple of (code, detail) or None
    """

    client: str
    num_examples: object = 0
    metrics: Mapping[str, object] = field(default_factory=dict)
    notes: Mapping[str, object] = field(default_factory=dict)
    arrays: NamedArrays | None = None
    error: tuple[str, str] | None = None


@dataclass(frozen=True)
class Answers:
    """An answered pack as read.

    Attributes
    ----------
    results : mapping
        By client; at most one for each that was asked.
    ignored : tuple of str
        Clients that nobody asked, or that are listed again: the first answer counts.
    """

    results: Mapping[str, ClientResult]
    ignored: tuple[str, ...] = ()


def write_rows(results: Sequence[ClientResult]) -> str:
    """Return everything but the arrays as JSON."""
    rows = [
        {
            "client": r.client,
            "num-examples": r.num_examples,
            "metrics": dict(r.metrics),
            "notes": dict(r.notes),
            "arrays": r.arrays.schema.hash if r.arrays is not None else None,
            "error": list(r.error) if r.error else None,
        }
        for r in results
    ]
    return json.dumps(rows)


@dataclass(frozen=True)
class Listing:
    """The rows of an answered pack, and where each client's arrays are.

    Attributes
    ----------
    first : mapping
        The first row of each client that was asked.
    places : mapping
        By client, the schema it answers for and its position among that schema's arrays.
    members : mapping
        By schema, how many arrays; rows that do not count have their place too.
    facts : mapping
        By schema, what the node says of it.
    ignored : tuple of str
    """

    first: Mapping[str, Row]
    places: Mapping[str, tuple[str, int]]
    members: Mapping[str, int]
    facts: Mapping[str, Mapping[str, object]]
    ignored: tuple[str, ...]

    @classmethod
    def read(cls, text: object, about: object, clients: Sequence[str]) -> Listing:
        """Read the rows.

        Parameters
        ----------
        text : object
            What should be `write_rows`'s text.
        about : object
            What should be the facts of each schema, as JSON.
        clients : sequence of str
            Who was asked.

        Raises
        ------
        ClientError
            ``format`` or ``size``.
        """
        rows = _parsed(text, list, len(clients))
        facts = _parsed(about, dict, len(clients))
        asked = frozenset(clients)
        first: dict[str, Row] = {}
        places: dict[str, tuple[str, int]] = {}
        members: dict[str, int] = {}
        ignored = []
        for row in rows:
            if not isinstance(row, dict):
                continue
            client, name = str(row.get("client")), row.get("arrays")
            counts = client in asked and client not in first
            if counts:
                first[client] = row
            else:
                ignored.append(client)
            if name is not None:
                place = members.get(str(name), 0)
                members[str(name)] = place + 1
                if counts:
                    places[client] = (str(name), place)
        known = {name: said for name, said in facts.items() if isinstance(said, dict)}
        return cls(first, places, members, known, tuple(ignored))

    def answers(self, schemas: Mapping[str, Schema], buffers: Buffers) -> Answers:
        """Bring rows and arrays together; a client whose arrays do not fit gets an ``error``.

        Parameters
        ----------
        schemas : mapping
            What each client was to return, by client; empty if no arrays.
        buffers : mapping
            The arrays of each of those schemas that is a member, by its hash.
        """
        results = {}
        for client, row in self.first.items():
            arrays: NamedArrays | None = None
            error = _stated_error(row)
            if error is None and client in self.places:
                found = self._arrays(client, schemas.get(client), buffers)
                if isinstance(found, ClientError):
                    error = (found.code_name, found.detail)
                else:
                    arrays = found
            results[client] = ClientResult(
                client,
                row.get("num-examples"),
                _mapping(row.get("metrics")),
                _mapping(row.get("notes")),
                arrays,
                error,
            )
        return Answers(results, self.ignored)

    def _arrays(
        self, client: str, expected: Schema | None, buffers: Buffers
    ) -> NamedArrays | ClientError:
        name, index = self.places[client]
        if expected is None or expected.hash != name:
            return _mismatch(name, self.facts.get(name), expected)
        rows = buffers[name]
        return rows if isinstance(rows, ClientError) else rows[index]


def _parsed(text: object, kind: type[_Parsed], clients: int) -> _Parsed:
    if not isinstance(text, str):
        raise ClientError("format", "not an answered pack: it has no results")
    if len(text) > _TEXT_BYTES + _TEXT_BYTES_A_CLIENT * clients:
        raise ClientError("size", f"results of {len(text)} characters")
    try:
        found = json.loads(text, parse_int=_bounded)
    except (ValueError, RecursionError) as error:
        raise ClientError("format", f"not an answered pack: {type(error).__name__}") from None
    if not isinstance(found, kind):
        raise ClientError("format", f"not an answered pack: no {kind.__name__} of results")
    return found


def _bounded(digits: str) -> int | float:
    """Read a JSON integer; one that no count or measure can be becomes infinite."""
    return int(digits) if len(digits) <= _DIGITS else float("-inf" if digits[0] == "-" else "inf")


def _mismatch(
    name: str, found: Mapping[str, object] | None, expected: Schema | None
) -> ClientError:
    """Say how the adapter that was returned differs from the one that was asked for."""
    if expected is None:
        return ClientError("keys", "arrays where none were asked for")
    wanted: Mapping[str, Fact] = expected.facts
    found = wanted if found is None else found
    lines = [
        f"{key} is {str(found.get(key))[:60]}, expected {wanted.get(key)}"
        for key in sorted({*wanted, *found})
        if found.get(key) != wanted.get(key)
    ]
    if lines:
        return ClientError("adapter", "; ".join(lines[:3]))
    return ClientError("schema", f"answered for schema {name[:40]}, asked for {expected.hash}")


def _stated_error(row: Mapping[str, object]) -> tuple[str, str] | None:
    given = row.get("error")
    if not given:
        return None
    if isinstance(given, list) and len(given) == 2:
        return str(given[0]), str(given[1])
    return "format", "it failed, and its error cannot be read"


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
