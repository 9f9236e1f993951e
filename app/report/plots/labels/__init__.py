"""Which labels clients hold, and how well each of them is told."""
