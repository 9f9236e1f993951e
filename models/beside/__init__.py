"""What methods for clients with different base models put beside them."""
