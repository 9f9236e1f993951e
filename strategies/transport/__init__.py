"""What carries requests to clients: the roster, packing, flow control, screening."""
