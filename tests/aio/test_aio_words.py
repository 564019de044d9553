"""Why a connection could not be opened, in words that a person reads in a log."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from ports import HOST, free_port

import aiodimse
from aiodimse import sop_class
from aiodimse.aio.words import unreachable

MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
REFUSED = "connection refused; nothing listens there"


def _no_verification() -> ssl.SSLError:
    error = ssl.SSLError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.reason = "CERTIFICATE_VERIFY_FAILED"
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 4242)"), REFUSED),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 99] Cannot"), REFUSED),
        (OSError(errno.EHOSTUNREACH, "Connect call failed ('192.0.2.7', 104)"), "no route to host"),
        (socket.gaierror(-2, "Name or service not known"), "the host name does not resolve"),
        (_no_verification(), "TLS: CERTIFICATE_VERIFY_FAILED"),
        (OSError("something else"), "something else"),
    ],
)
def test_words(error: OSError, words: str) -> None:
    assert unreachable(error).startswith(words)
    assert "[" not in unreachable(error)


async def test_a_move_destination_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    server, port = aiodimse.Server(ae_title="ARCHIVE"), free_port()

    @server.on_c_move
    async def move(request: Any) -> AsyncIterator[Any]:
        yield HOST, port
        yield 1
        yield aiodimse.identifier(None, SOPClassUID=sop_class.CTImageStorage, SOPInstanceUID="1.2.3")

    async with (
        server.listen(HOST, 0) as here,
        aiodimse.connect(HOST, here.port, called_ae_title="ARCHIVE", contexts=[MOVE]) as association,
    ):
        response = await association.c_move(aiodimse.identifier("STUDY"), MOVE, destination="VIEWER")
    assert response.status == 0xA702
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.endswith(f"no association with VIEWER at {HOST}:{port}: {REFUSED}")


async def test_the_peer_of_a_pool_that_is_down() -> None:
    async with aiodimse.Pool(
        HOST, free_port(), called_ae_title="PEER", contexts=[sop_class.Verification], acquire_timeout=0.2
    ) as pool:
        with pytest.raises(aiodimse.AssociationTimeout, match=f": {REFUSED}"):
            await pool.c_echo()
