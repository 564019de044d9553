"""get from a peer that counts more than it sends: the exit status tells a script that objects are missing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import ports
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


@pytest.mark.parametrize("comes_again", [True, False])
async def test_an_association_of_a_move_that_is_lost_in_the_middle(
    command: Command, tmp_path: Path, comes_again: bool
) -> None:
    """The example: the whole retrieval ended, and the instance that came again was refused."""
    port = ports.free_port()

    async def send(uids: list[str], originator: int, *, half: bool = False) -> None:
        async with await ScriptedPeer.connect(HOST, port) as sender:
            await sender.associate([(1, CT_UID, [wire.EXPLICIT_LE])], called="ME", calling="ARCHIVE")
            for number, uid in enumerate(uids, 1):
                rq = wire.store_rq(CT_UID, uid, number)
                rq |= {(0x0000, 0x1030): "ME", (0x0000, 0x1031): originator}
                if half:
                    command_set = wire.command({wire.DATA_SET_TYPE: 1, **rq})
                    await sender.send(wire.fragments(1, command_set, command=True))
                    await sender.send(wire.p_data(wire.pdv(1, image(uid)[:20], command=False, last=False)))
                    sender.reset()
                    return
                await sender.request(1, rq, image(uid))
                assert (await sender.read_message()).status == 0x0000
            await sender.release()

    async def provide_by_move(listener: ScriptedListener) -> None:
        peer = await listener.accept()
        await peer.accept()
        request = await peer.read_message()
        await send(["1.2.3.1"], request.message_id, half=True)
        await send(["1.2.3.1", "1.2.3.2"] if comes_again else ["1.2.3.2"], request.message_id)
        await peer.respond(request, 0x0000, counters(None, 2 if comes_again else 1, 0, 0))
        await peer.expect_release()
        await peer.close()

    async with await ScriptedListener.open() as listener:
        providing = asyncio.create_task(provide_by_move(listener))
        ended = await command(
            "get", HOST, listener.port, "--ae-title", "ME", "--via-move", f"{HOST}:{port}", *GET, tmp_path, "--json"
        )
        await providing
    found = json.loads(ended.out)
    assert "not saved 1.2.3.1: " in ended.err
    if comes_again:
        assert (ended.code, len(found["files"]), found["refused"]) == (0, 2, [])
    else:
        assert (ended.code, len(found["files"]), found["refused"]) == (1, 1, ["1.2.3.1"])
