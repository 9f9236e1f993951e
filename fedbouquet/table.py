"""Bases for tables outside a run: how rows become what such a base reads."""

from models.bases.table_encoding import TableEncoding

__all__ = ["TableEncoding"]
