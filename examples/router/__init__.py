"""A router: keeps what it acknowledges, and sends it on until the destinations have it."""
