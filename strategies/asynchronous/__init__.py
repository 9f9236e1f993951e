"""Methods for rounds that close while clients are still training."""
