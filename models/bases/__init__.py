"""Base models: how they are named, cut, and, for the embedded one, pretrained."""
