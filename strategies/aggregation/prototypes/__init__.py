"""Pure rules on tables of class prototypes."""
