"""TLS records without data: how they are counted, and that a peer that floods with them is dropped."""

from __future__ import annotations

import _ssl
import asyncio
import ctypes
import ssl
import struct
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tls.test_tls_transport import Carried

from aiodimse.aio.tls_records import AT_ONCE, RECORD, Records


def record(size: int) -> bytes:
    return struct.pack(">BHH", 0x17, 0x0303, size) + bytes(size)


@given(st.lists(st.sampled_from([0, 1, 22, 1000, RECORD + 256]), max_size=60), st.integers(1, 100_000))
def test_records_are_counted_however_they_are_cut(sizes: list[int], cut: int) -> None:
    data = b"".join(map(record, sizes))
    records, ended, found = Records(), 0, b""
    for at in range(0, len(data), cut):
        for piece, ends in records.cut(data[at : at + cut]):
            assert len(piece) <= RECORD + 5
            assert ends <= AT_ONCE
            ended += ends
            found += piece
    assert (ended, found) == (len(sizes), data)


@pytest.mark.parametrize(
    ("rounds", "ended", "with_data", "too_empty"),
    [(32, 1, 0, False), (33, 1, 0, True), (3, 16, 0, True), (10_000, 9, 8, False), (10_000, 9, 7, True)],
)
def test_how_many_records_may_be_without_data(rounds: int, ended: int, with_data: int, too_empty: bool) -> None:
    records = Records()
    assert any(records.are_too_empty(ended, with_data) for _ in range(rounds)) is too_empty


def test_much_data_does_not_make_up_for_a_flood() -> None:
    records = Records()
    assert not records.are_too_empty(1_000_000, 1_000_000)
    assert records.are_too_empty(33, 0)


def update_keys(tls: Any, *, requests: bool) -> None:
    """Make a KeyUpdate, which Python's ssl module cannot."""
    pointer = ctypes.cast(id(tls._sslobj) + 3 * ctypes.sizeof(ctypes.c_void_p), ctypes.POINTER(ctypes.c_void_p))[0]
    ctypes.CDLL(_ssl.__file__).SSL_key_update(ctypes.c_void_p(pointer), int(requests))
    tls.do_handshake()


@pytest.mark.skipif(sys.implementation.name != "cpython" or sys.platform == "win32", reason="looks into CPython")
@pytest.mark.parametrize("requests", [False, True])
async def test_a_peer_that_updates_its_keys_again_and_again_is_dropped(certificates: Any, requests: bool) -> None:
    carried = Carried(certificates, ssl.TLSVersion.TLSv1_3)
    await carried.open()
    user = carried.user
    for _ in range(100):
        update_keys(user._tls, requests=requests)
    user._flush()
    await asyncio.wait_for(carried.asked.ended.wait(), 60)
    assert "records without data" in str(carried.asked.events[-1])


@pytest.mark.skipif(sys.implementation.name != "cpython" or sys.platform == "win32", reason="looks into CPython")
async def test_a_peer_that_updates_its_keys_now_and_then_is_served(certificates: Any) -> None:
    carried = Carried(certificates, ssl.TLSVersion.TLSv1_3)
    await carried.open()
    for _ in range(100):
        for _ in range(8):
            carried.user.write(b"x")
        update_keys(carried.user._tls, requests=False)
        carried.user._flush()
    async with asyncio.timeout(60):
        while len(carried.asked.data) < 800:  # noqa: ASYNC110 - bytes in memory have no event
            await asyncio.sleep(0)
    carried.server.write(b"answer")
    async with asyncio.timeout(60):
        while carried.told.data != b"answer":  # noqa: ASYNC110 - bytes in memory have no event
            await asyncio.sleep(0)
