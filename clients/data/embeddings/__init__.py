"""Dividing rows by what they are about: embeddings, their clusters, and a Dirichlet draw."""
