"""The transport that encrypts: what goes through it, how it ends, and what it does where OpenSSL has to read first."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

from aiodimse import tls
from aiodimse.aio.tls_transport import TLSTransport
from aiodimse.testing.transport import MemoryTransport, memory_connection

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Told(asyncio.Protocol):
    """What a protocol is told."""

    def __init__(self, *, closes: bool = True) -> None:
        self.data, self.events, self.closes = bytearray(), [], closes
        self.events: list[Any]
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.events.append("eof")
        return not self.closes

    def connection_lost(self, error: Exception | None) -> None:
        self.events.append(error)
        self.ended.set()


class Carried:
    """Two ends of TLS over a connection in memory."""

    def __init__(self, certificates: Any, version: ssl.TLSVersion) -> None:
        self.below: tuple[MemoryTransport, MemoryTransport] = memory_connection(asyncio.get_running_loop())
        client = tls.client_context(certificates.ca)
        client.maximum_version = version
        server = tls.server_context(**certificates.pair("server"), verify_client=False)
        for each in self.below:
            each.start(asyncio.Protocol())
        self.user = TLSTransport(self.below[0], client, "localhost")
        self.server = TLSTransport(self.below[1], server, None)
        self.told, self.asked = Told(), Told()

    async def open(self) -> None:
        await asyncio.gather(self.user.shake_hands(), self.server.shake_hands())
        self.user.hand_over(self.told)
        self.server.hand_over(self.asked)


@pytest.fixture(params=VERSIONS, ids=str)
async def carried(request: pytest.FixtureRequest, certificates: Any) -> Carried:
    carried = Carried(certificates, request.param)
    await carried.open()
    return carried


async def settled(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - bytes in memory have no event
            await asyncio.sleep(0)


@pytest.mark.parametrize("size", [1, 1 << 14, (1 << 14) + 1, 1 << 20])
async def test_bytes_come_as_they_went_in_both_directions(carried: Carried, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    carried.user.write(data)
    carried.server.writelines([data[:6], data[6:]])
    await settled(lambda: len(carried.told.data) == len(carried.asked.data) == size)
    assert carried.told.data == carried.asked.data == data


async def test_one_direction_is_closed_and_the_other_goes_on(carried: Carried) -> None:
    carried.asked.closes = False
    carried.user.write_eof()
    await settled(lambda: "eof" in carried.asked.events)
    carried.server.write(b"still here")
    await settled(lambda: carried.told.data == b"still here")
    carried.server.close()
    await carried.told.ended.wait()
    await carried.asked.ended.wait()
    assert carried.told.events == ["made", "eof", None]


async def test_closing_writes_what_waits(carried: Carried) -> None:
    carried.user.write(bytes(1 << 20))
    carried.user.close()
    carried.user.write(b"too late")
    await carried.asked.ended.wait()
    assert carried.asked.data == bytes(1 << 20)
    assert carried.asked.events == ["made", "eof", None]


async def test_a_record_that_does_not_decrypt_ends_it_with_an_alert(carried: Carried) -> None:
    carried.below[0].write(b"\x17\x03\x03\x00\x20" + bytes(32))
    await carried.asked.ended.wait()
    await carried.told.ended.wait()
    assert isinstance(carried.asked.events[-1], ssl.SSLError)
    assert carried.asked.events[-1].reason in ("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "BAD_DECRYPT")
    assert isinstance(carried.told.events[-1], ssl.SSLError)
    assert "ALERT_BAD_RECORD_MAC" in (carried.told.events[-1].reason or "")


async def test_an_abort_is_told_to_both(carried: Carried) -> None:
    carried.user.abort()
    assert carried.user.is_closing()
    await carried.told.ended.wait()
    await carried.asked.ended.wait()
    assert carried.told.events == ["made", None]


async def test_a_connection_that_is_gone_before_it_is_handed_over(certificates: Any) -> None:
    carried = Carried(certificates, ssl.TLSVersion.TLSv1_3)
    await asyncio.gather(carried.user.shake_hands(), carried.server.shake_hands())
    carried.user.abort()
    await settled(lambda: carried.user._is_lost and carried.server._is_ended)
    carried.user.hand_over(carried.told)
    carried.server.hand_over(carried.asked)
    await carried.asked.ended.wait()
    await carried.told.ended.wait()
    assert carried.told.events == ["made", None]
    assert carried.asked.events == ["made", "eof", None]


async def test_what_comes_before_the_protocol_is_kept(certificates: Any) -> None:
    carried = Carried(certificates, ssl.TLSVersion.TLSv1_2)
    await asyncio.gather(carried.user.shake_hands(), carried.server.shake_hands())
    carried.user.write(b"early")
    carried.user.close()
    await settled(lambda: carried.server._is_ended)
    carried.server.hand_over(carried.asked)
    assert carried.asked.data == b"early"
    await carried.asked.ended.wait()
    assert carried.asked.events == ["made", "eof", None]


class Wanting:
    """OpenSSL that takes nothing before it has read something, as in a renegotiation (RFC 5246 7.4.1.1)."""

    def __init__(self, below: ssl.SSLObject) -> None:
        self._below, self.wants = below, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)

    def write(self, data: Any) -> int:
        if self.wants:
            raise ssl.SSLWantReadError
        return self._below.write(data)


async def test_what_openssl_does_not_take_yet_goes_out_later_in_order(carried: Carried) -> None:
    carried.user._tls = wanting = Wanting(carried.user._tls)  # type: ignore[assignment]
    carried.user.write(b"one ")
    carried.user.write(b"two ")
    assert carried.user.get_write_buffer_size() == 8
    wanting.wants = False
    carried.server.write(b"go on")
    await settled(lambda: carried.told.data == b"go on")
    carried.user.write(b"three")
    await settled(lambda: carried.asked.data == b"one two three")
    assert carried.user.get_write_buffer_size() == 0


async def test_what_it_knows_of_the_peer(carried: Carried) -> None:
    assert tls.certificate_names(carried.user.get_extra_info("peercert")) == {"dns:localhost", "ip:127.0.0.1"}
    assert carried.server.get_extra_info("peercert") is None
    assert carried.user.get_extra_info("peername") == ("127.0.0.1", 2)
    assert carried.user.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
