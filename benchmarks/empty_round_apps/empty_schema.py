"""What travels in an empty round: one array of 1,000 numbers."""

from __future__ import annotations

from models.schema import ArraySpec, Schema

NUMBERS = 1000
SCHEMA = Schema((ArraySpec("w", (NUMBERS,)),), {})
