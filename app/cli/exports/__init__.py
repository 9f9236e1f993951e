"""A run's model in other forms."""
