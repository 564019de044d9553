"""A router: it keeps the images that it acknowledges, and sends them on until the destinations have them."""
