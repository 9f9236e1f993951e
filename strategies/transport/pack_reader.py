"""A pack's answer, read and screened client by client."""

from __future__ import annotations

from collections.abc import Mapping
from logging import WARNING

from flwr.app import Message
from flwr.supercore import log

from models.errors import ClientError, one_line
from models.messages import unpack_results
from models.records import WireDtype, wire_bytes
from models.results import ClientResult
from models.schema import Schema
from strategies.transport.exchange import Rejection, Reply, Request
from strategies.transport.lanes import Parcel
from strategies.transport.roster import Roster
from strategies.transport.screening import Asked, Gate


def refused(parcel: Parcel, error: ClientError) -> list[Reply | Rejection]:
    """Return the rejections of a pack that was lost."""
    return [
        Asked(client, parcel.action, parcel.server_round).rejection(error)
        for client in parcel.pack.clients
    ]


class PackReader:
    """Reads what came back for a pack.

    Parameters
    ----------
    roster : Roster
    gate : Gate
    wire : str
    """

    def __init__(self, roster: Roster, gate: Gate, wire: WireDtype) -> None:
        self._roster = roster
        self._gate = gate
        self._wire = wire

    def read(
        self, message: Message, parcel: Parcel, requests: Mapping[str, Request]
    ) -> list[Reply | Rejection] | ClientError:
        """Return one answer a client; a ClientError where the whole pack was lost."""
        if message.has_error():
            reason = one_line(str(message.error.reason).partition(":")[0], 100)
            return ClientError("client-app", f"the node's process failed ({reason})")
        schemas: dict[str, Schema] = {}
        if parcel.action == "train":
            schemas = {client: request.reply_schema for client, request in requests.items()}
        clients, server_round = parcel.pack.clients, parcel.server_round
        try:
            answers = unpack_results(message.content, clients, schemas, server_round)
        except ClientError as error:
            return error
        if answers.ignored:
            log(
                WARNING,
                "round %d: %d answers of clients that were not asked, or not twice: %s",
                *(server_round, len(answers.ignored), one_line(answers.ignored[0], 80)),
            )
        results = answers.results.values()
        if results and all(r.error and r.error[0] == "unprepared" for r in results):
            return ClientError("unprepared", "the node lost its plan")
        return [self._screen(answers.results.get(c), requests[c], parcel) for c in clients]

    def _screen(
        self, result: ClientResult | None, request: Request, parcel: Parcel
    ) -> Reply | Rejection:
        known = self._roster[request.client]
        asked = Asked(
            request.client,
            parcel.action,
            parcel.server_round,
            start=request.arrays,
            declared=known.examples if parcel.action == "train" else known.test_examples,
            stream=parcel.pack.node.stream,
            bytes_down=wire_bytes(request.arrays, self._wire) + request.bytes_beside,
        )
        if result is None:
            return asked.rejection(ClientError("missing", "its node left it out of the answer"))
        size = wire_bytes(result.arrays, self._wire) if result.arrays is not None else 0
        return self._gate.admit(result, asked, bytes_up=size)
