"""Causal language models: from texts to tokens and targets, and back to texts."""
