"""Methods that serve every group."""
