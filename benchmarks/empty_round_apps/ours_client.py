"""Our ClientApp as it ships, but nothing is loaded or trained: clients return what came."""

from __future__ import annotations

from empty_schema import SCHEMA

from app import packs
from app.client_app import app
from models.messages import PackHeader
from models.results import ClientResult

EXAMPLES = 4


def run_pack(
    node: object, told: str, pack: PackHeader, action: str, *, share_text: bool
) -> list[ClientResult]:
    """Stand in for `packs.run_pack`, which would build a session: torch, model, data."""
    request = pack.open({SCHEMA.hash: SCHEMA})
    if action == "evaluate":
        return [ClientResult(client, EXAMPLES, {"accuracy": 0.0}) for client in request.clients]
    return [
        ClientResult(client, EXAMPLES, {"train_loss": 0.0}, {}, request.of(index)[0])
        for index, client in enumerate(request.clients)
    ]


packs.run_pack = run_pack

__all__ = ["app"]
