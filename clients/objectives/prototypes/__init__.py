"""Objectives on features and class prototypes, and the means taken of them."""
