"""What associations run on: the clock, the network, and how TCP acknowledges."""

from __future__ import annotations

from dataclasses import field

from aiodimse.aio.clock import Clock
from aiodimse.aio.network import TCP, Network
from aiodimse.record import record


@record(frozen=True)
class Environment:
    """What connect() and Server run on. The default is right for programs; tests replace the clock and the network.

    Example:
        >>> environment = aiodimse.Environment(testing.ManualClock(), testing.MemoryNetwork())
        >>> server = aiodimse.Server(ae_title="PACS", environment=environment)
    """

    clock: Clock = field(default_factory=Clock)
    """What tells the time and wakes timers; aiodimse.testing has one that tests move."""
    network: Network = TCP
    """What opens and accepts transport connections; aiodimse.testing has one in memory."""
    quick_ack: bool = True
    """Acknowledge what is read at once (TCP_QUICKACK, Linux): peers with Nagle's algorithm on wait for it."""
