"""The Python sides of the comparisons, each in a separate process: `python -m benchmarks.peers.NAME OPTIONS`."""
