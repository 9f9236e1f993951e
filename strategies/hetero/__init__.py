"""Methods for clients whose base models differ: they share a part that all have."""
