"""find, where a match of the peer does not decode: it is left out, and the exit status tells."""

from __future__ import annotations

import asyncio
import json
from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence

import pytest
from cli.conftest import HOST, Ended
from contract.provider import MATCH
from scripted.peer import ScriptedListener

from aiodimse.cli.options import timeouts

Command = Callable[..., Awaitable[Ended]]
NO_SEQUENCE = b"\x08\x00\x40\x11\x04\x00\x00\x00none"
"""Referenced Image Sequence (0008,1140) in Implicit VR, without items."""


async def answer(listener: ScriptedListener, matches: Sequence[bytes], status: int) -> None:
    peer = await listener.accept()
    await peer.accept()
    request = await peer.read_message()
    for match in matches:
        await peer.respond(request, 0xFF00, data=match)
    await peer.respond(request, status)
    await peer.expect_release()
    await peer.close()


@pytest.mark.parametrize(
    ("matches", "status", "code", "words"),
    [
        ([MATCH], 0x0000, 0, ""),
        ([MATCH, NO_SEQUENCE], 0x0000, 1, "1 match that does not decode is left out"),
        ([MATCH[:-1], NO_SEQUENCE], 0x0000, 1, "2 matches that do not decode are left out"),
        ([NO_SEQUENCE], 0xA700, 1, "1 match that does not decode is left out"),
    ],
)
@pytest.mark.parametrize("how", [(), ("--json",), ("--json-lines",)], ids=lambda how: "".join(how) or "table")
async def test_what_does_not_decode(
    command: Command, how: tuple[str, ...], matches: list[bytes], status: int, code: int, words: str
) -> None:
    async with await ScriptedListener.open() as listener:
        answering = asyncio.create_task(answer(listener, matches, status))
        ended = await command("find", HOST, listener.port, "-k", "PatientID=", *how)
        await answering
    assert ended.code == code
    assert words in ended.err
    assert bool(ended.err) is bool(code)
    if how == ("--json",):
        found = json.loads(ended.out)
        assert found["undecodable"] == len(matches) - len(found["matches"])


@pytest.mark.parametrize(("given", "drain"), [(4.0, 4.0), (100.0, 10.0), (None, 10.0)])
def test_a_silent_peer_costs_no_more_than_the_timeout_twice(given: float | None, drain: float) -> None:
    """--timeout 4 took 14 s: the C-CANCEL had ten of its own."""
    found = timeouts(Namespace(timeout=given))
    assert (found.cancel_drain, found.response) == (drain, given or 60.0)
