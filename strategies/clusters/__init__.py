"""Methods with several models at once, one for each cluster of clients."""
