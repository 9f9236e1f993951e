"""Time as both sides of a run count it."""
