"""Frozen base models, adapters, their schema, and what is written of them."""
