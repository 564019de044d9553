"""The sides of a comparison that are Python, each a process of its own: `python -m benchmarks.peers.NAME OPTIONS`."""
