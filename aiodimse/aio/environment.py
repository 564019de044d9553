"""What associations run on: the clock, the network, and how TCP acknowledges."""

from __future__ import annotations

from dataclasses import field

from aiodimse.aio.clock import Clock
from aiodimse.aio.network import TCP, Network
from aiodimse.record import record


@record(frozen=True)
class Environment:
    """What connect() and Server run on. The default is right for programs; tests replace the clock and the network.

    Examples:
        >>> environment = aiodimse.Environment(testing.ManualClock(), testing.MemoryNetwork())
        >>> server = aiodimse.Server(ae_title="PACS", environment=environment)
    """

    clock: Clock = field(default_factory=Clock)
    """The clock. `aiodimse.testing.ManualClock` is one that tests move."""
    network: Network = TCP
    """The network. `aiodimse.testing.MemoryNetwork` is one in memory."""
    quick_ack: bool = True
    """Whether to acknowledge at once what was read (TCP_QUICKACK, on Linux). Peers that use Nagle's algorithm wait for
    that."""
