"""Trackers on request: what ``metrics.jsonl`` says of each round, told to other programs."""
