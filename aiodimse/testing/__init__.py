"""Helpers for tests of programs that use aiodimse: no sockets, no real waiting, and a clock that the test moves.

    async def test_my_provider():
        server = my_application.make_server()                      # an aiodimse.Server
        async with testing.joined(server, contexts=[sop_class.Verification]) as association:
            assert (await association.c_echo()).status == 0x0000

    async def test_that_a_silent_peer_is_given_up():
        clock, network = testing.ManualClock(), testing.MemoryNetwork()
        peers = await testing.ScriptedPeer.listen(network, 104)
        calling = asyncio.create_task(my_application.echo("pacs", 104, environment=environment))
        await clock.elapse(30)                                     # Timeouts.connect
        with pytest.raises(aiodimse.AssociationTimeout):
            await calling

FakeArchive      a query/retrieve provider for data sets in memory, for programs that talk to an archive
joined           a user and a Server in one event loop, connected in memory
MemoryNetwork    the network between them, for aiodimse.Environment; it is made of MemoryTransports
ManualClock      a clock that the test moves, for aiodimse.Environment; settle lets the event loop run
ScriptedPeer     a peer that does what the test says, right or wrong
EnginePair       two engines joined without an event loop
replay, play     replay one side of a recorded conversation; read_capture reads a recording
"""

from aiodimse.testing.archive import FakeArchive
from aiodimse.testing.capture import Capture, Side, play, read_capture, replay
from aiodimse.testing.clock import ManualClock, settle
from aiodimse.testing.engines import Cut, EnginePair, byte_by_byte, whole
from aiodimse.testing.network import MemoryNetwork, joined
from aiodimse.testing.peer import PeerClosed, ScriptedPeer
from aiodimse.testing.transport import MemoryTransport, Split, memory_connection

__all__ = [
    "Capture",
    "Cut",
    "EnginePair",
    "FakeArchive",
    "ManualClock",
    "MemoryNetwork",
    "MemoryTransport",
    "PeerClosed",
    "ScriptedPeer",
    "Side",
    "Split",
    "byte_by_byte",
    "joined",
    "memory_connection",
    "play",
    "read_capture",
    "replay",
    "settle",
    "whole",
]
