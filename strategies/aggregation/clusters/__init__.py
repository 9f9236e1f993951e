"""Pure rules about clusters: sketches, trees, bipartitions, stable numbers."""
