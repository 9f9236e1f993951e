"""Client halves of LoRA methods."""
