"""A virtual clock: how fast clients are, and a grid on which their answers come when they would."""
