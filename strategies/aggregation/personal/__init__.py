"""Pure rules in which every client gets a model of its own."""
