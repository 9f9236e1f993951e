"""The pictures of the report, all in one style."""
