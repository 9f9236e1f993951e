"""What a client's training would make of data, computed on the server and differentiated."""
