"""What a peer calls an instance, or itself, never becomes a path: provider and C-GET user share one naming function."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from durable.material import STORAGE
from pydicom import dcmread
from scripted import wire
from scripted.peer import ScriptedListener, ScriptedPeer

import aiodimse
from aiodimse import sop_class

HOST = "127.0.0.1"
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
HOSTILE = [
    "../outside",
    "../../../../../../../../etc/cron.d/x",
    "/etc/passwd",
    "/outside",
    "..",
    ".",
    "/",
    "~root",
    "sub/1.2.3",
    "..\\outside",
    "C:\\outside",
    "\\\\host\\share",
    "con",
    "1.2.3/../../outside",
    "1.2.3\0/outside",
    "1.2.3\n",
    ".1.2.3",
    "-rf",
    "1.2.3.dcm",
    "%2e%2e%2foutside",
    "$(touch outside)",
    "1." * 5000,
    "x" * 300,
    "é\xff\x80",
    "*?[a]",
]


NO_UID = ["", " ", "\0\0"]


def named(uid: str) -> bytes:
    """A data set that says the same as the command: else it would be refused for that."""
    raw = uid.encode("latin-1")
    return wire.dataset({(0x0008, 0x0018): ("UI", raw + b"\0" * (len(raw) % 2)), (0x0010, 0x0010): ("PN", "A^B")})


def ids(uid: str) -> str:
    return ascii(uid[:24]).strip("'")


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def checked(folder: Path, root: Path) -> Path:
    """The one new file; a plain one, straight in the folder, under a harmless name, with zeros for a preamble."""
    assert everything(root) == {"into", *(f"into/{path.name}" for path in folder.iterdir())}
    (path,) = folder.iterdir()
    assert path.is_file()
    assert not path.is_symlink()
    assert path.name.isascii()
    assert path.name.replace("-", "").replace(".", "").isalnum()
    assert not path.name.startswith((".", "-"))
    assert path.suffix == ".dcm"
    assert len(path.name) < 100
    assert path.read_bytes()[:128] == bytes(128)
    return path


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("uid", HOSTILE, ids=ids)
async def test_a_provider_that_saves(tmp_path: Path, into: Path, uid: str) -> None:
    server = aiodimse.Server(ae_title="ARCHIVE")

    @server.on_c_store
    async def store(request: Any) -> int:
        await request.save(into)
        return 0x0000

    data = named(uid)
    async with server.listen(HOST, 0) as listening, await ScriptedPeer.connect(HOST, listening.port) as peer:
        await peer.associate([(1, str(STORAGE), [wire.EXPLICIT_LE])], called="ARCHIVE", calling="../../etc/x")
        asked = await peer.request(1, {**wire.store_rq(str(STORAGE), ""), wire.INSTANCE: uid.encode("latin-1")}, data)
        (response,) = await peer.responses(asked)
        assert response.status == 0x0000
        await peer.release()
    path = checked(into, tmp_path)
    assert dcmread(path).file_meta.SourceApplicationEntityTitle == "../../etc/x"


@pytest.mark.parametrize("uid", HOSTILE, ids=ids)
async def test_a_c_get_user_that_saves(tmp_path: Path, into: Path, uid: str) -> None:
    data = named(uid)
    async with await ScriptedListener.open() as listener:

        async def provide() -> int | None:
            peer = await listener.accept()
            await peer.accept()
            request = await peer.read_message()
            context = next(key for key, (abstract, _) in peer.association.proposed.items() if abstract == STORAGE)
            elements = {**wire.store_rq(str(STORAGE), "", message_id=77), wire.INSTANCE: uid.encode("latin-1")}
            await peer.request(context, elements, data)
            answer = await peer.read_message()
            await peer.respond(request, 0x0000)
            await peer.expect_release()
            return answer.status

        task = asyncio.create_task(provide())
        async with (
            aiodimse.connect(HOST, listener.port, contexts=[GET], storage=[STORAGE]) as user,
            user.c_get(aiodimse.EncodedDataset(b"", wire.EXPLICIT_LE), GET) as retrieval,
        ):
            async for instance in retrieval:
                assert (await instance.save(into)).parent == into
        assert await task == 0x0000
    checked(into, tmp_path)


async def test_a_symbolic_link_in_the_way_is_replaced_not_followed(tmp_path: Path, into: Path) -> None:
    """Whoever can write into the folder could lay a link there; what it points to is not touched."""
    outside = tmp_path / "outside"
    outside.write_text("untouched", encoding="ascii")
    (into / "1.2.3.dcm").symlink_to(outside)
    server = aiodimse.Server(ae_title="ARCHIVE")

    @server.on_c_store
    async def store(request: Any) -> int:
        await request.save(into)
        return 0x0000

    async with server.listen(HOST, 0) as listening, await ScriptedPeer.connect(HOST, listening.port) as peer:
        await peer.associate([(1, str(STORAGE), [wire.EXPLICIT_LE])], called="ARCHIVE")
        data = wire.dataset({(0x0008, 0x0018): ("UI", "1.2.3")})
        (response,) = await peer.responses(await peer.request(1, wire.store_rq(str(STORAGE), "1.2.3"), data))
        assert response.status == 0x0000
        await peer.release()
    assert outside.read_text(encoding="ascii") == "untouched"
    assert not (into / "1.2.3.dcm").is_symlink()
