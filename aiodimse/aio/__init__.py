"""The event loop: the only floor that uses asyncio, with all that stands on it."""
