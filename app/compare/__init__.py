"""Several methods on the same clients: runs, one table and one report."""
