"""Pictures of a run's clock."""
