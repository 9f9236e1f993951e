"""The server halves: strategies, the one round loop, and what carries messages."""
