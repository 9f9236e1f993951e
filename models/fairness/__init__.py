"""Group fairness from counts: what clients count, and the figures that follow from sums of it."""
