"""Methods in which a part of the model, or a model of its own, belongs to each client."""
