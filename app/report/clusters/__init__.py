"""What a run wrote of its clusters."""
