"""Methods in which class prototypes travel: instead of adapters, or beside them."""
