"""get from a peer that counts more than it sends: the exit status tells a script that objects are missing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from cli.conftest import HOST, Ended
from contract.provider import counters
from scripted import wire
from scripted.peer import ScriptedListener, ScriptedPeer

Command = Callable[..., Awaitable[Ended]]
CT_UID = "1.2.840.10008.5.1.4.1.1.2"
GET = ("-k", "StudyInstanceUID=1.2", "--timeout", "20", "--output")


def image(uid: str) -> bytes:
    return wire.dataset(
        {
            (0x0008, 0x0016): ("UI", CT_UID),
            (0x0008, 0x0018): ("UI", uid),
            (0x0020, 0x000D): ("UI", "1.2"),
            (0x0020, 0x000E): ("UI", "1.2.3"),
        }
    )


async def provide(listener: ScriptedListener, uids: list[str], completed: int, failed: int) -> ScriptedPeer:
    """Send these instances, and end with Success and these counters."""
    peer = await listener.accept()
    rq = await peer.accept()
    request = await peer.read_message()
    context_id = next(key for key, (abstract, _) in rq.proposed.items() if abstract == CT_UID)
    for number, uid in enumerate(uids):
        # Without an instance UID the C-STORE is refused, and reaches nobody.
        await peer.request(context_id, wire.store_rq(CT_UID, uid, 1000 + number), image(uid or "1.2.3.9"))
        await peer.read_message()
    await peer.respond(request, 0x0000, counters(None, completed, failed, 0))
    await peer.expect_release()
    return peer


@pytest.mark.parametrize(
    ("uids", "completed", "failed", "code", "files", "words"),
    [
        (["1.2.3.1"], 5, 0, 1, 1, "4 more did not arrive"),
        ([""], 1, 0, 1, 0, "1 more did not arrive"),
        (["1.2.3.1"], 1, 3, 1, 1, "3 failed"),
        (["1.2.3.1", "1.2.3.1"], 2, 0, 0, 1, "1 file in"),
        (["1.2.3.1", "1.2.3.2"], 1, 0, 0, 2, "2 files in"),
    ],
    ids=["fewer", "none", "failed and Success", "one twice", "more"],
)
async def test_what_a_peer_counts(
    command: Command, tmp_path: Path, uids: list[str], completed: int, failed: int, code: int, files: int, words: str
) -> None:
    async with await ScriptedListener.open() as listener:
        providing = asyncio.create_task(provide(listener, uids, completed, failed))
        ended = await command("get", HOST, listener.port, *GET, tmp_path)
        await (await providing).close()
    assert ended.code == code, ended.err
    assert words in ended.out + ended.err
    assert len(list(tmp_path.glob("*.dcm"))) == files
