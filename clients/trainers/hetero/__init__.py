"""Client halves for clients whose base models differ."""
