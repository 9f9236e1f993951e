"""What travels beside plain arrays."""
