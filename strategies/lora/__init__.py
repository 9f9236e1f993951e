"""Ways of aggregating LoRA adapters."""
