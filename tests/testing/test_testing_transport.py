"""The transport in memory has the manners of asyncio's own: each case runs on both."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Awaitable, Callable

import pytest

from aiodimse.testing import memory_connection, settle


class Recorder(asyncio.Protocol):
    def __init__(self, *, keep_open: bool = False) -> None:
        self.keep_open = keep_open
        self.log: list[object] = []
        self.data = bytearray()
        self.lost = asyncio.get_running_loop().create_future()
        self.got = asyncio.Event()
        self.transport: asyncio.Transport

    def connection_made(self, transport):
        self.transport = transport
        self.log.append("made")

    def data_received(self, data):
        self.data += data
        self.got.set()

    def eof_received(self):
        self.log.append("eof")
        self.got.set()
        return self.keep_open

    def pause_writing(self):
        self.log.append("pause")

    def resume_writing(self):
        self.log.append("resume")
        self.got.set()

    def connection_lost(self, error):
        self.log.append(type(error).__name__ if error else "lost")
        self.lost.set_result(None)
        self.got.set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true():
                self.got.clear()
                await self.got.wait()


async def in_memory(one: Recorder, other: Recorder) -> None:
    for transport, protocol in zip(memory_connection(asyncio.get_running_loop()), (one, other), strict=True):
        transport.start(protocol)


async def over_sockets(one: Recorder, other: Recorder) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    near = socket.create_connection(listener.getsockname())
    far, _ = listener.accept()
    listener.close()
    loop = asyncio.get_running_loop()
    for sock, protocol in ((near, one), (far, other)):
        await loop.create_connection(lambda protocol=protocol: protocol, sock=sock)


@pytest.fixture(params=[in_memory, over_sockets])
def join(request) -> Callable[[Recorder, Recorder], Awaitable[None]]:
    return request.param


async def test_bytes_then_fin(join):
    one, other = Recorder(), Recorder()
    await join(one, other)
    one.transport.write(b"abc")
    one.transport.writelines([b"def", memoryview(b"ghi")])
    one.transport.close()
    await one.lost
    await other.lost
    assert bytes(other.data) == b"abcdefghi"
    assert other.log == ["made", "eof", "lost"]
    assert one.log == ["made", "lost"]
    one.transport.write(b"more")  # ignored


async def test_half_close(join):
    one, other = Recorder(), Recorder(keep_open=True)
    await join(one, other)
    one.transport.write(b"last")
    one.transport.write_eof()
    with pytest.raises(RuntimeError):
        one.transport.write(b"after the last")
    await other.until(lambda: "eof" in other.log)
    other.transport.write(b"answer")
    other.transport.close()
    await one.lost
    await other.lost
    assert bytes(one.data) == b"answer"
    assert one.log == ["made", "eof", "lost"]


async def test_a_writer_is_paused_when_nobody_reads(join):
    one, other = Recorder(), Recorder()
    await join(one, other)
    other.transport.pause_reading()
    size = 1 << 24
    one.transport.write(bytes(size))
    assert one.log == ["made", "pause"]
    assert 0 < one.transport.get_write_buffer_size() <= size
    other.transport.resume_reading()
    await one.until(lambda: "resume" in one.log)
    await other.until(lambda: len(other.data) == size)
    one.transport.close()
    await one.lost
    await other.lost
    assert one.transport.get_write_buffer_size() == 0


async def test_abort_loses_what_is_not_written_and_tells_the_other(join):
    one, other = Recorder(), Recorder()
    await join(one, other)
    other.transport.pause_reading()
    one.transport.write(bytes(1 << 24))
    one.transport.abort()
    await one.lost
    other.transport.resume_reading()
    await other.lost
    assert one.log[-1] == "lost"
    assert len(other.data) < 1 << 24


async def test_abort_with_bytes_unread_resets(join):
    one, other = Recorder(), Recorder()
    await join(one, other)
    one.transport.pause_reading()
    other.transport.write(b"unread")
    if join is over_sockets:
        select.select([one.transport.get_extra_info("socket")], [], [], 5)  # the kernel has it
    await settle()
    one.transport.abort()
    await other.lost
    assert other.log[-1] == "ConnectionResetError"


async def test_the_end_that_the_tls_of_asyncio_makes_is_told_to_the_other(join):
    """It makes one when TLS has failed, by data behind a close_notify for example. The error is that of its side."""
    one, other = Recorder(), Recorder()
    await join(one, other)
    one.transport._force_close(OSError("TLS failed"))
    async with asyncio.timeout(60):
        await one.lost
        await other.lost
    assert one.log == ["made", "OSError"]
    assert other.log == ["made", "eof", "lost"]


async def test_split_cuts_what_is_delivered():
    pieces: list[int] = []

    class Counts(Recorder):
        def data_received(self, data):
            pieces.append(len(data))
            super().data_received(data)

    one, other = Recorder(), Counts()
    ours, theirs = memory_connection(asyncio.get_running_loop(), split=lambda there: 3)
    ours.start(one)
    theirs.start(other)
    one.transport.write(b"0123456789")
    one.transport.close()
    await other.lost
    assert pieces == [3, 3, 3, 1]
    assert bytes(other.data) == b"0123456789"
