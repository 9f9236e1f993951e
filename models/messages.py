"""Messages between our own halves: packs of clients, as Flower records.

A pack names its clients, the plan it belongs to and, once or a client, the options; its arrays are
one buffer: one row if all start from the same, else one row a client.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from flwr.app import ArrayRecord, ConfigRecord, RecordDict

from models.errors import ClientError
from models.records import WireDtype, from_blob, from_wire, to_blob, to_wire
from models.results import Answers, ClientResult, Listing, write_rows
from models.schema import NamedArrays, Schema

HELLO = "query.hello"
PREPARE = "query.prepare"
COLLECT = "collect"
"""Option of a message that asks for the adapter that a client uses, instead of training."""
COUNT_GROUPS = "count-groups"
"""Option of a message that asks how many training examples of each group a client has."""
CLASSES = "classes"
_MARK = "bouquet"
BASE = "base-"
_CHANGE = "change-"

Options = Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class RunIdentity:
    """Whose personal state a message is about.

    Attributes
    ----------
    uid : str
        The run's own id, never Flower's: it survives a resume. Empty where nothing is kept.
    oldest : int
        The oldest round that may be resumed; versions that only older ones need may go.
    """

    uid: str
    oldest: int = 0


NO_RUN = RunIdentity("")


@dataclass(frozen=True)
class PackRequest:
    """One message to a node, for several of its clients.

    Attributes
    ----------
    plan : str
        Hash of the plan the node must have.
    server_round : int
    clients : tuple of str
    arrays : tuple of NamedArrays
        One for all clients, or one a client.
    options : tuple of mapping
        One for all clients, or one a client.
    wire : str
        Dtype of the buffer, there and back.
    run : RunIdentity
        Whose personal state the clients keep.
    base_version : int
        Of the frozen base.
    changes : mapping of int to bytes
        Changes of the base that the node may lack, by version.
    """

    plan: str
    server_round: int
    clients: tuple[str, ...]
    arrays: tuple[NamedArrays, ...]
    options: tuple[Options, ...]
    wire: WireDtype = "float32"
    run: RunIdentity = NO_RUN
    base_version: int = 0
    changes: Mapping[int, bytes] = field(default_factory=dict)

    def of(self, index: int) -> tuple[NamedArrays, Options]:
        """Return start and options of the client at a position."""
        arrays = self.arrays[index if len(self.arrays) > 1 else 0]
        return arrays, self.options[index if len(self.options) > 1 else 0]

    def to_content(
        self, buffer: ArrayRecord | None = None, known: Collection[str] = ()
    ) -> RecordDict:
        """Write the records of the message.

        Parameters
        ----------
        buffer : ArrayRecord, optional
            The arrays, where they were encoded before: a start that all packs share.
        known : collection of str
            Hashes of schemas that the node has from its plan; any other travels along.
        """
        same = len({id(o) for o in self.options}) == 1 or all(
            dict(o) == dict(self.options[0]) for o in self.options
        )
        config = ConfigRecord(
            {
                _MARK: 1,
                "plan": self.plan,
                "server-round": self.server_round,
                "clients": list(self.clients),
                "options": json.dumps([dict(o) for o in self.options[: 1 if same else None]]),
                "schemas": json.dumps([a.schema.hash for a in self.arrays]),
                "wire-dtype": self.wire,
                "base-version": self.base_version,
                "run": self.run.uid,
                "oldest": self.run.oldest,
                "more-schemas": json.dumps(
                    sorted({a.schema.to_json() for a in self.arrays if a.schema.hash not in known})
                ),
            }
        )
        content = RecordDict({"arrays": buffer or self.encoded(), "config": config})
        for version, data in self.changes.items():
            content[f"{_CHANGE}{version}"] = to_blob(data)
        return content

    def encoded(self) -> ArrayRecord:
        """Write the arrays: one buffer, or one a client where their schemas differ."""
        if len({a.schema.hash for a in self.arrays}) == 1:
            return to_wire(self.arrays, self.wire)
        record = ArrayRecord()
        for index, arrays in enumerate(self.arrays):
            for key, array in to_wire([arrays], self.wire).items():
                record[f"{index}/{key}"] = array
        return record


def is_pack(content: RecordDict) -> bool:
    """Whether a message is a pack of ours; a plain Flower message is not."""
    return any(_MARK in config for config in content.config_records.values())


@dataclass(frozen=True)
class PackHeader:
    """A pack as the node sees it before it has the plan and its schema."""

    plan: str
    server_round: int
    clients: tuple[str, ...]
    options: tuple[Options, ...]
    schemas: tuple[str, ...]
    wire: WireDtype
    run: RunIdentity
    more_schemas: tuple[Schema, ...]
    base_version: int
    changes: Mapping[int, bytes] = field(repr=False)
    record: ArrayRecord = field(repr=False)

    @classmethod
    def from_content(cls, content: RecordDict) -> PackHeader:
        """Read the records of a message."""
        config = content.config_records["config"]
        wire: WireDtype = str(config["wire-dtype"])  # type: ignore[assignment]
        return cls(
            plan=str(config["plan"]),
            server_round=int(config["server-round"]),
            clients=tuple(config["clients"]),
            options=tuple(json.loads(str(config["options"]))),
            schemas=tuple(json.loads(str(config["schemas"]))),
            wire=wire,
            run=RunIdentity(str(config["run"]), int(config["oldest"])),
            more_schemas=tuple(
                Schema.from_json(text) for text in json.loads(str(config["more-schemas"]))
            ),
            base_version=int(config["base-version"]),
            changes={
                int(name.removeprefix(_CHANGE)): from_blob(record)
                for name, record in content.array_records.items()
                if name.startswith(_CHANGE)
            },
            record=content.array_records["arrays"],
        )

    def open(self, schemas: Mapping[str, Schema]) -> PackRequest:
        """Decode the arrays.

        Parameters
        ----------
        schemas : mapping
            The schemas this node has, by hash; those that came along count too.

        Raises
        ------
        ClientError
            ``schema`` for one it does not have.
        """
        schemas = {**schemas, **{schema.hash: schema for schema in self.more_schemas}}
        unknown = next((s for s in self.schemas if s not in schemas), None)
        if unknown is not None:
            have = ", ".join(sorted(schemas))
            raise ClientError("schema", f"asked for schema {unknown}, this node has {have}")
        wanted = [schemas[name] for name in self.schemas]
        if all("/" not in key for key in self.record):
            rows = [row.copy() for row in from_wire(self.record, wanted[0], len(wanted))]
        else:
            rows = []
            for index, schema in enumerate(wanted):
                start = f"{index}/"
                own = {k[len(start) :]: v for k, v in self.record.items() if k.startswith(start)}
                rows.append(from_wire(ArrayRecord(own), schema, 1)[0].copy())
        arrays = tuple(NamedArrays(s, row) for s, row in zip(wanted, rows, strict=True))
        return PackRequest(
            self.plan,
            self.server_round,
            self.clients,
            arrays,
            self.options,
            self.wire,
            self.run,
            self.base_version,
        )


def pack_results(results: Sequence[ClientResult], wire: WireDtype, server_round: int) -> RecordDict:
    """Write an answered pack: one buffer for all clients of a schema, the rest as JSON.

    Parameters
    ----------
    results : sequence of ClientResult
    wire : str
        Dtype of the buffers.
    server_round : int
        The round that was asked for.
    """
    by_schema: dict[str, list[NamedArrays]] = {}
    for result in results:
        if result.arrays is not None:
            by_schema.setdefault(result.arrays.schema.hash, []).append(result.arrays)
    facts = {name: dict(group[0].schema.facts) for name, group in by_schema.items()}
    config = ConfigRecord(
        {
            _MARK: 1,
            "server-round": server_round,
            "results": write_rows(results),
            "facts": json.dumps(facts),
        }
    )
    content = RecordDict({"config": config})
    for name, group in by_schema.items():
        content[f"arrays-{name}"] = to_wire(group, wire)
    return content


def unpack_results(
    content: RecordDict,
    clients: Sequence[str],
    schemas: Mapping[str, Schema],
    server_round: int,
) -> Answers:
    """Read an answered pack; a client whose arrays do not fit gets an ``error``.

    Parameters
    ----------
    content : RecordDict
    clients : sequence of str
        Who was asked.
    schemas : mapping
        What each client was to return, by client; empty if no arrays.
    server_round : int
        The round that was asked for.

    Raises
    ------
    ClientError
        Nothing of the pack can be used: ``format``, ``size``, ``round`` or ``keys``.
    """
    config = content.config_records.get("config", ConfigRecord())
    listing = Listing.read(config.get("results"), config.get("facts"), clients)
    if config.get("server-round") != server_round:
        raise ClientError(
            "round", f"an answer for round {config.get('server-round')!r}, asked for {server_round}"
        )
    extra = set(content) - {"config", *(f"arrays-{name}" for name in listing.members)}
    if extra:
        raise ClientError("keys", f"{len(extra)} records too many, first '{min(extra)}'")
    known = {schema.hash: schema for schema in schemas.values()}
    buffers: dict[str, list[NamedArrays] | ClientError] = {}
    for name in listing.members.keys() & known.keys():
        try:
            record = content.array_records.get(f"arrays-{name}")
            if record is None:
                raise ClientError("keys", "the buffer of arrays is missing")
            rows = from_wire(record, known[name], listing.members[name])
            buffers[name] = [NamedArrays(known[name], row) for row in rows]
        except ClientError as error:
            buffers[name] = error
    return listing.answers(schemas, buffers)
