"""Floor 3: owns the event loop. Nothing below it knows asyncio."""
