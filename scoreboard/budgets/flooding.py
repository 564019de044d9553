"""Peers that flood, in a separate process: python -m scoreboard.budgets.flooding PORT FLOOD PEERS.

Each peer associates, and writes the same bytes again and again, as fast as the provider takes them, until standard
input ends. A peer whose association is ended connects again, as a rude peer would. The program prints "flooding" when
as many associations were opened as there are peers, or as many of the A-ASSOCIATE-RQs that no provider accepts were
sent, and at the end how many associations were ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from scripted import wire
from scripted.peer import ScriptedPeer, ScriptedPeerError

import scoreboard.budgets  # noqa: F401  # makes scripted importable

CHUNK = 1 << 15
_AGAIN = 0.05
"""Seconds until a peer connects again."""
COMMITMENT, COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
CONTEXTS = [
    (1, wire.VERIFICATION, [wire.IMPLICIT_LE]),
    (3, wire.CT_IMAGE_STORAGE, [wire.EXPLICIT_LE]),
    (5, wire.STUDY_ROOT_FIND, [wire.EXPLICIT_LE]),
    (7, wire.STUDY_ROOT_GET, [wire.EXPLICIT_LE]),
    (9, COMMITMENT, [wire.EXPLICIT_LE]),
]


@dataclass(frozen=True)
class Flood:
    """The bytes that a peer sends once after it has associated, and the bytes that it then repeats."""

    words: str
    again: Callable[[], bytes]
    first: bytes = b""
    max_length: int = 16384
    """That the peer announces."""
    reads: bool = True
    """Whether it reads what it is sent."""
    needs_archive: bool = False


def _filled(once: bytes) -> bytes:
    return once * max(1, CHUNK // len(once))


def _one_byte_data() -> bytes:
    return _filled(wire.p_data(wire.pdv(3, b"\0", command=False, last=False)))


def _one_byte_command() -> bytes:
    command = wire.command({wire.DATA_SET_TYPE: wire.NO_DATA_SET, **wire.echo_rq()})
    pdvs = [
        wire.p_data(wire.pdv(1, command[at : at + 1], command=True, last=at == len(command) - 1))
        for at in range(len(command))
    ]
    return _filled(b"".join(pdvs))


def _large_find() -> bytes:
    """Make a C-FIND with an Identifier of 60 KB, which the handler yields as a match."""
    keys = wire.dataset({(0x0010, 0x1000): ("LO", "x" * 60), **{
        (0x0011, 0x1000 + number): ("LO", "x" * 60) for number in range(850)
    }})  # fmt: skip
    return wire.message(5, wire.find_rq(), keys)


def _commitments() -> bytes:
    """Make an N-ACTION that requests the commitment of 10,000 instances."""
    items = b"".join(
        struct.pack("<HHL", 0xFFFE, 0xE000, len(item)) + item
        for item in (
            wire.dataset({(0x0008, 0x1150): ("UI", wire.CT_IMAGE_STORAGE), (0x0008, 0x1155): ("UI", f"1.2.3.{number}")})
            for number in range(10_000)
        )
    )
    sequence = struct.pack("<HH2s2xL", 0x0008, 0x1199, b"SQ", len(items)) + items
    rq = {
        (0x0000, 0x0003): COMMITMENT,
        (0x0000, 0x0100): 0x0130,
        (0x0000, 0x0110): 1,
        (0x0000, 0x1001): COMMITMENT_INSTANCE,
        (0x0000, 0x1008): 1,
    }
    return wire.message(9, rq, wire.dataset({(0x0008, 0x1195): ("UI", "1.2.9")}) + sequence)


def _large_associate_rq() -> bytes:
    """Make an A-ASSOCIATE-RQ of 1 MiB of presentation contexts, each with as many transfer syntaxes as fit."""
    context = (1, wire.VERIFICATION, [f"1.2.840.10008.1.2.4.{number}" for number in range(1_000)])
    return wire.associate_rq([context] * 40)


_ECHO = wire.message(1, wire.echo_rq())
_STORE = wire.message(3, wire.store_rq(wire.CT_IMAGE_STORAGE, "1.2.3"))
FLOODS = {
    "data": Flood("1-byte data PDVs", _one_byte_data, wire.fragments(
        3, wire.command(wire.store_rq(wire.CT_IMAGE_STORAGE, "1.2.3") | {wire.DATA_SET_TYPE: 1}), command=True
    )),
    "command": Flood("a command set in 1-byte fragments", _one_byte_command),
    "echo": Flood("C-ECHO-RQs", lambda: _filled(_ECHO)),
    "cancel": Flood("C-CANCEL-RQs for nothing", lambda: _filled(wire.message(5, wire.cancel_rq(9)))),
    "empty": Flood("data PDVs of no bytes", lambda: _filled(wire.p_data(wire.pdv(3, b"", command=False, last=False))),
        wire.fragments(
            3, wire.command(wire.store_rq(wire.CT_IMAGE_STORAGE, "1.2.3") | {wire.DATA_SET_TYPE: 1}), command=True
        )),
    "tiny": Flood("C-FINDs whose matches of 60 KB go in fragments of 128", _large_find, max_length=128),
    "unread": Flood("C-FINDs whose matches of 60 KB they do not read", _large_find, reads=False),
    "commitment": Flood("N-ACTIONs for the commitment of 10,000 instances", _commitments, needs_archive=True),
    "refused": Flood("requests that are refused", lambda: _filled(wire.message(1, wire.find_rq()))),
}  # fmt: skip


async def _associate_again(port: int, there: Callable[[], None]) -> None:
    """Send A-ASSOCIATE-RQs of 1 MiB, over one connection after the other."""
    rq = _large_associate_rq()
    while True:
        with contextlib.suppress(ScriptedPeerError, OSError, TimeoutError):
            async with await ScriptedPeer.connect("127.0.0.1", port) as peer:
                with contextlib.suppress(ConnectionError):  # it is ended before all of it is read
                    await peer.send(rq)
                there()
                await peer.drain(5)
        await asyncio.sleep(_AGAIN)


async def _abort_again(port: int, there: Callable[[], None]) -> None:
    """Associations that are open and aborted at once, one after the other."""
    rq = wire.associate_rq(CONTEXTS, called="SCORED", calling="RUDE")
    while True:
        with contextlib.suppress(ScriptedPeerError, OSError, TimeoutError):
            async with await ScriptedPeer.connect("127.0.0.1", port) as peer:
                await peer.send(rq)
                await peer.expect(wire.A_ASSOCIATE_AC, 5)
                there()
                await peer.send(wire.abort())


async def _flood(port: int, flood: Flood, there: Callable[[], None], ended: Callable[[], None]) -> None:
    data = flood.again()
    while True:
        with contextlib.suppress(ScriptedPeerError, OSError, TimeoutError):
            async with await ScriptedPeer.connect("127.0.0.1", port) as peer:
                await peer.associate(CONTEXTS, called="SCORED", calling="RUDE", max_length=flood.max_length)
                there()
                await _pour(peer, flood.first, data, reads=flood.reads)
        ended()
        await asyncio.sleep(_AGAIN)


async def _pour(peer: ScriptedPeer, first: bytes, data: bytes, *, reads: bool) -> None:
    """Write until the connection ends. Read and drop all responses, or leave them unread."""

    async def drop() -> None:
        if not reads:
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        while await peer.reader.read(1 << 16):
            pass

    dropping = asyncio.create_task(drop())
    try:
        peer.writer.write(first)
        while not dropping.done():
            peer.writer.write(data)
            await peer.writer.drain()
            await asyncio.sleep(0)
    finally:
        dropping.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await dropping


AGAIN = {
    "associate": ("A-ASSOCIATE-RQs of 1 MiB", _associate_again),
    "abort": ("associations that are aborted at once", _abort_again),
}


async def main() -> None:
    """Flood until standard input ends."""
    port, name, peers = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    associated, ends, all_there = 0, 0, asyncio.Event()

    def there() -> None:
        nonlocal associated
        associated += 1
        if associated >= peers:
            all_there.set()

    def ended() -> None:
        nonlocal ends
        ends += 1

    if name in AGAIN:
        tasks = [asyncio.create_task(AGAIN[name][1](port, there)) for _ in range(peers)]
    else:
        tasks = [asyncio.create_task(_flood(port, FLOODS[name], there, ended)) for _ in range(peers)]
    await all_there.wait()
    print("flooding", flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    print(ends, flush=True)
    for task in tasks:
        task.cancel()
    os._exit(0)  # a rude peer does not close; a normal exit would wait for its writes


@dataclass
class Flooded:
    """The result of a flood."""

    ended: int = 0
    """How many associations of flooding peers were ended."""


@asynccontextmanager
async def flooding(port: int, name: str, peers: int) -> AsyncIterator[Flooded]:
    """Flood a provider while the block runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "scoreboard.budgets.flooding",
        str(port),
        name,
        str(peers),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    flooded = Flooded()
    try:
        async with asyncio.timeout(60):
            await process.stdout.readline()
        yield flooded
        stdout, _ = await asyncio.wait_for(process.communicate(b""), 60)
        flooded.ended = int(stdout or 0)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


if __name__ == "__main__":
    asyncio.run(main())
