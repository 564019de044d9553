"""For tests of programs that use aiodimse, and for its own: no sockets, no waiting, time that stands still.

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

FakeArchive      a query/retrieve provider over data sets in memory: what your program talks to
joined           a user and a Server in one event loop, connected in memory
MemoryNetwork    what connects them: for aiodimse.Environment; MemoryTransport underneath
ManualClock      time that the test moves: for aiodimse.Environment; settle lets the loop run
ScriptedPeer     a peer that does what it is told, right or wrong
EnginePair       two engines joined without an event loop
replay, play     a recorded conversation, played again from either side; read_capture reads it
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
