"""The client halves: data, the local training loop, objectives, personal state."""
