"""Class prototypes as both halves know them."""
