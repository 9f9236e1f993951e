"""Client halves of methods in which class prototypes travel."""
