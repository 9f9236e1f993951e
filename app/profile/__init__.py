"""What the clients look like before any training, and which family of methods fits."""
