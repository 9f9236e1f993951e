"""The server's memory of updates: one vector a client, on disk, with versions."""

from __future__ import annotations

from strategies.memory.store import Remembered, UpdateMemory

__all__ = ["Remembered", "UpdateMemory"]
