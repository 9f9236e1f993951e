"""Checks before a run: this installation, a node's own side, a federation."""
