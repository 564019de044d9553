"""The only door to pydicom data sets and to Part 10 files. Synchronous; large work belongs off the event loop."""
