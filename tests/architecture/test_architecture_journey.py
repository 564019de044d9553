"""How far one C-ECHO travels at the provider, from the bytes of the transport to the bytes of the answer.

Each call is a place to read for who follows a request, and each change of file a page to turn. The bounds are what was
reached; a change that needs more has to say why here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

from aiodimse import Environment, Server, sop_class, testing
from aiodimse.dimse import command
from aiodimse.dimse.messages import CEchoRQ
from aiodimse.pdu import pdata_header
from aiodimse.testing.transport import MemoryTransport

CALLS, FILES, CHANGES_OF_FILE = 41, 12, 50


class Journey:
    """Every call of a function of the package, and every change of file by a call or a return."""

    def __init__(self, package: Path) -> None:
        self._package = str(package)
        self._inside: list[str] = []
        self.calls: list[str] = []
        self.files: set[str] = set()
        self.changes = 0

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        code = frame.f_code
        if not code.co_filename.startswith(self._package) or "/testing/" in code.co_filename:
            return
        file = code.co_filename.removeprefix(self._package)
        before = self._inside[-1] if self._inside else file
        if event == "call":
            self.calls.append(f"{'  ' * len(self._inside)}{file} {code.co_name}")
            self.files.add(file)
            self._inside.append(file)
        elif event == "return":
            self._inside.pop()
            file = self._inside[-1] if self._inside else before
        else:
            return
        self.changes += before != file


def echo(message_id: int) -> bytes:
    data = command.encode(CEchoRQ(message_id=message_id, affected_sop_class_uid=sop_class.Verification))
    return pdata_header(1, True, True, len(data)) + data


async def test_the_journey_of_one_echo(package, monkeypatch):
    network = testing.MemoryNetwork()
    server = Server(environment=Environment(network=network))
    protocols: list[Any] = []
    start = MemoryTransport.start
    monkeypatch.setattr(MemoryTransport, "start", lambda self, end: (protocols.append(end), start(self, end)))
    async with server.listen("memory", 104):
        peer = await testing.ScriptedPeer.call(network, 104)
        await peer.associate([sop_class.Verification])
        (acceptor,) = [protocol for protocol in protocols if protocol is not peer]
        for message_id in (1, 2):  # the first ones fill caches
            acceptor.data_received(echo(message_id))
            await peer.read_message()
        journey, request = Journey(package), echo(3)
        sys.setprofile(journey)
        try:
            acceptor.data_received(request)
        finally:
            sys.setprofile(None)
        _, response, _ = await peer.read_message()
        assert response.message_id_being_responded_to == 3
        peer.abort_transport()
    trip = "\n".join(journey.calls)
    assert len(journey.calls) <= CALLS, trip
    assert len(journey.files) <= FILES, trip
    assert journey.changes <= CHANGES_OF_FILE, trip
    assert len(journey.calls) > 20, "the profile has seen nothing"
