"""Client halves of methods in which each client has a model, or a part of one, of its own."""
