"""LoRA adapters as numbers: factor pairs, ranks, and changes of the base beneath them."""
