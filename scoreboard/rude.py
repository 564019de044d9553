"""Rude peers: what they send, how long the answer takes, and what they leave behind.

They use raw sockets and handmade bytes. Only the well-behaved peer's echo uses aiodimse.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time

import aiodimse
from aiodimse import sop_class


def _item(kind: int, data: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(data)) + data


def associate_rq() -> bytes:
    """Make an A-ASSOCIATE-RQ for Verification in Implicit VR Little Endian."""
    context = _item(
        0x20,
        b"\1\0\0\0" + _item(0x30, b"1.2.840.10008.1.1") + _item(0x40, b"1.2.840.10008.1.2"),
    )
    user = _item(0x50, _item(0x51, struct.pack(">I", 16384)) + _item(0x52, b"1.2.3.4"))
    body = struct.pack(">H2x16s16s32x", 1, b"SCORED".ljust(16), b"RUDE".ljust(16))
    body += _item(0x10, b"1.2.840.10008.3.1.1.1") + context + user
    return struct.pack(">BxI", 1, len(body)) + body


# Each is invalid from its first or second byte on, in Sta2 (before) and in Sta6 (after an association).
MALFORMED = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x08\x00\x00\x00\x00\x04\x00\x00\x00\x00",
    b"\x04\x00\xff\xff\xff\xff\x00\x00\x00\x04\x01\x03",
    b"\x04\x00\x00\x00\x00\x06\x00\x00\x00\x01\x01\x03",
    b"\x05\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00",
)


async def malformed_to_fin(port: int, rounds: int) -> list[float]:
    """Measure the seconds from a malformed byte to the end of our A-ABORT and FIN."""
    seconds = []
    for number in range(rounds):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        if number % 2:
            writer.write(associate_rq())
            header = await reader.readexactly(6)
            await reader.readexactly(struct.unpack(">2xI", header)[0])
        started = time.perf_counter()
        writer.write(MALFORMED[number // 2 % len(MALFORMED)])
        answer = await asyncio.wait_for(reader.read(), 30)
        seconds.append(time.perf_counter() - started)
        assert answer[:1] == b"\7", answer
        writer.close()
    return sorted(seconds)


async def echo_among_stalled(port: int, stalled: int, echoes: int) -> list[float]:
    """Measure a well-behaved echo, association included, while others send nothing or half a PDU, or do not read."""
    writers = []
    rq = associate_rq()
    for number in range(stalled):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write((b"", rq[:1], rq[:50], rq)[number % 4])
        writers.append(writer)
    seconds = []
    for _ in range(echoes):
        started = time.perf_counter()
        async with aiodimse.connect(
            "127.0.0.1", port, called_ae_title="SCORED", contexts=[sop_class.Verification]
        ) as association:
            (await association.c_echo()).raise_for_status()
            seconds.append(time.perf_counter() - started)
    for writer in writers:
        writer.transport.abort()
    return sorted(seconds)


async def rude_associations(port: int, number: int, at_once: int = 50) -> None:
    """Associate, and then abort, reset or vanish."""
    rq = associate_rq()
    no_linger = struct.pack("ii", 1, 0)

    async def one(kind: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(rq if kind != 3 else rq[:40])
        if kind != 3:
            header = await reader.readexactly(6)
            assert header[0] == 2, f"no A-ASSOCIATE-AC: {header.hex()}"
            await reader.readexactly(struct.unpack(">2xI", header)[0])
        if kind == 0:
            writer.write(b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00")
        elif kind == 1:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
            writer.transport.abort()
            return
        elif kind == 2:
            writer.write(b"\x04\x00\x00\x00\x01\x00\x00\x00\x00\xfc\x01\x00half a message")
        writer.close()
        await writer.wait_closed()

    for start in range(0, number, at_once):
        await asyncio.gather(*(one(k % 4) for k in range(start, min(start + at_once, number))))
