"""The client halves of methods with several models."""
