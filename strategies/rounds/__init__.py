"""The one round loop: select, send, receive, screen, aggregate, evaluate, record."""
