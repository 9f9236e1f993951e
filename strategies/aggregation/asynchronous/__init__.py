"""Pure rules for updates that started from older models."""
