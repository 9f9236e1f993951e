"""A SuperLink that is away: waited for, but not for ever."""

from __future__ import annotations

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from flwr.superlink.grid import HttpGrid

from app.server.link import connected
from models.errors import LinkError


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _grid(port: int) -> HttpGrid:
    return HttpGrid(f"127.0.0.1:{port}", insecure=True, token="token")


def test_a_superlink_that_stays_away_ends_the_run_and_says_how_to_go_on() -> None:
    grid = _grid(_free_port())
    began = time.monotonic()
    said = pytest.raises(LinkError, match=r"for 0.3 s \(ConnectError\).*resume=true")
    with said, connected(grid, patience=0.3):
        grid.get_node_ids()
    assert 0.3 <= time.monotonic() - began < 3.0


class _NoNodes(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_one_that_comes_back_is_waited_for() -> None:
    port = _free_port()
    servers: list[HTTPServer] = []

    def come_back() -> None:
        time.sleep(0.3)
        servers.append(HTTPServer(("127.0.0.1", port), _NoNodes))
        servers[0].serve_forever()

    thread = threading.Thread(target=come_back, daemon=True)
    thread.start()
    try:
        with connected(grid := _grid(port), patience=20.0):
            assert list(grid.get_node_ids()) == []
    finally:
        servers[0].shutdown()
        servers[0].server_close()
        thread.join()


def test_other_errors_keep_their_names() -> None:
    with pytest.raises(KeyError), connected(_grid(_free_port())):
        raise KeyError("mine")
