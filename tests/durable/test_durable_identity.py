"""A path has one identity: what is saved is the instance that the command names, and replaces no other one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from durable.material import STORAGE
from pydicom import dcmread
from scripted import wire
from scripted.peer import ScriptedListener, ScriptedPeer

import aiodimse
from aiodimse import sop_class
from aiodimse.datasets import PartTenWriter, decode_dataset, read_head

HOST = "127.0.0.1"
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
EMPTY = aiodimse.EncodedDataset(b"", wire.EXPLICIT_LE)
UID, OTHER = "1.2.3.4", "1.2.3.5"

KEYS = {"sop_class": (8, 0x16), "uid": (8, 0x18), "patient": (0x10, 0x20), "study": (0x20, 0xD), "series": (0x20, 0xE)}
VALUES = {"sop_class": str(STORAGE), "uid": UID, "patient": "A", "study": "1.2.1", "series": "1.2.2"}


def image(*, pixels: bytes = b"good" * 100, **values: str) -> bytes:
    """A data set with these values of its keys, the others as always; "" leaves one out."""
    said = {**VALUES, **values}
    elements: dict[Any, Any] = {
        KEYS[key]: ("LO" if key == "patient" else "UI", value) for key, value in said.items() if value
    }
    return wire.dataset({**elements, (0x7FE0, 0x10): ("OW", pixels)})


GOOD = image()


def kept(folder: Path) -> dict[str, bytes]:
    """The data set of each file."""
    return {path.name: path.read_bytes()[read_head(path).data_offset :] for path in folder.iterdir()}


class Sender:
    """Sends C-STOREs to a provider that saves."""

    def __init__(self, peer: ScriptedPeer) -> None:
        self.peer, self.comments = peer, list[str]()

    async def store(self, data: bytes, uid: str | None = UID, sop_class_uid: str | None = str(STORAGE)) -> int:
        elements = wire.store_rq(sop_class_uid or "", uid or "")
        if uid is None:
            del elements[wire.INSTANCE]
        if sop_class_uid is None:
            del elements[wire.SOP_CLASS]
        (response,) = await self.peer.responses(await self.peer.request(1, elements, data))
        assert response.status is not None
        self.comments.append(response.comment or "")
        return response.status


@contextlib.asynccontextmanager
async def sending(folder: Path, calls: list[Any] | None = None, **options: Any) -> AsyncIterator[Sender]:
    server = aiodimse.Server(ae_title="ARCHIVE")

    @server.on_c_store
    async def store(request: Any) -> int:
        if calls is not None:
            calls.append(request)
        await request.save(folder, **options)
        return 0x0000

    async with server.listen(HOST, 0) as listening, await ScriptedPeer.connect(HOST, listening.port) as peer:
        await peer.associate([(1, str(STORAGE), [wire.EXPLICIT_LE])], called="ARCHIVE")
        yield Sender(peer)
        await peer.release()


async def fetch(folder: Path, sent: list[tuple[dict[Any, Any], bytes]], *, catch: bool = True) -> list[int | None]:
    """What a C-GET of ours, which saves what comes, answers to these C-STOREs."""
    async with await ScriptedListener.open() as listener:

        async def provide() -> list[int | None]:
            peer = await listener.accept()
            await peer.accept()
            request = await peer.read_message()
            context = next(key for key, (abstract, _) in peer.association.proposed.items() if abstract == STORAGE)
            statuses = []
            for elements, data in sent:
                await peer.request(context, elements, data)
                statuses.append((await peer.read_message()).status)
            await peer.respond(request, 0x0000)
            await peer.expect_release()
            return statuses

        task = asyncio.create_task(provide())
        async with (
            aiodimse.connect(HOST, listener.port, contexts=[GET], storage=[STORAGE]) as user,
            user.c_get(EMPTY, GET, allow_incomplete=True) as retrieval,
        ):
            async for instance in retrieval:
                with contextlib.suppress(aiodimse.InstanceConflict) if catch else contextlib.nullcontext():
                    await instance.save(folder)
        return await task


# --- the command names the data set -----------------------------------------------------------------------------------

NOT_NAMED = {
    "no instance UID": (None, str(STORAGE), 0x0117),
    "an empty instance UID": ("", str(STORAGE), 0x0117),
    "a blank instance UID": ("  ", str(STORAGE), 0x0117),
    "no SOP class UID": (UID, None, 0x0122),
    "an empty SOP class UID": (UID, "", 0x0122),
    "neither": (None, None, 0x0122),
}


@pytest.mark.parametrize("case", NOT_NAMED)
async def test_a_c_store_that_does_not_say_what_it_stores(tmp_path: Path, case: str) -> None:
    """No handler is called; the association goes on."""
    uid, sop_class_uid, status = NOT_NAMED[case]
    calls: list[Any] = []
    async with sending(tmp_path, calls) as sender:
        assert await sender.store(GOOD, uid, sop_class_uid) == status
        assert sender.comments[-1]
        assert await sender.store(image(uid=OTHER, patient="B"), uid, sop_class_uid) == status
        assert (calls, list(tmp_path.iterdir())) == ([], [])
        assert await sender.store(GOOD) == 0x0000
    assert kept(tmp_path) == {f"{UID}.dcm": GOOD}


@pytest.mark.parametrize("case", NOT_NAMED)
async def test_a_sub_operation_that_does_not_say_what_it_stores(tmp_path: Path, case: str) -> None:
    uid, sop_class_uid, status = NOT_NAMED[case]
    elements = wire.store_rq(sop_class_uid or "", uid or "", message_id=77)
    good = wire.store_rq(str(STORAGE), UID, message_id=78)
    assert await fetch(tmp_path, [(elements, GOOD), (good, GOOD)]) == [status, 0x0000]
    assert kept(tmp_path) == {f"{UID}.dcm": GOOD}


@pytest.mark.parametrize(
    "data",
    [
        image(uid=OTHER),
        image(sop_class=sop_class.MRImageStorage),
        image(uid=OTHER, pixels=bytes(3 << 20)),
        image(uid="1.2.3.44"),
        wire.dataset({(8, 0x18): ("UI", OTHER)}),
        wire.dataset({(8, 0x08): ("CS", "ORIGINAL\\PRIMARY\\" * 150), (8, 0x18): ("UI", OTHER)}),
    ],
    ids=["instance", "class", "large", "longer", "nothing else", "late"],
)
async def test_a_data_set_that_is_not_what_the_command_names(tmp_path: Path, data: bytes) -> None:
    """Nothing is on the disk, and nothing that was there is replaced; in both roles."""
    async with sending(tmp_path) as sender:
        assert await sender.store(data) == 0xA900
        assert sender.comments[-1] == "the data set is not the instance that the command names"
        assert list(tmp_path.iterdir()) == []
        assert await sender.store(GOOD) == 0x0000
        assert await sender.store(data) == 0xA900
    assert kept(tmp_path) == {f"{UID}.dcm": GOOD}
    assert await fetch(tmp_path, [(wire.store_rq(str(STORAGE), UID, message_id=77), data)]) == [0xA900]
    assert kept(tmp_path) == {f"{UID}.dcm": GOOD}


async def test_two_patients_under_one_uid(tmp_path: Path) -> None:
    """The example: both were answered 0000, and one file was left."""
    async with sending(tmp_path) as sender:
        assert await sender.store(image(uid=UID, patient="A")) == 0x0000
        assert await sender.store(image(uid=UID, patient="B")) == 0xA900
    assert kept(tmp_path) == {f"{UID}.dcm": GOOD}


async def test_the_check_can_be_turned_off(tmp_path: Path) -> None:
    async with sending(tmp_path, check_identity=False) as sender:
        assert await sender.store(image(uid=OTHER)) == 0x0000
        assert await sender.store(GOOD) == 0xA900, "but not what is replaced"
    assert kept(tmp_path) == {f"{UID}.dcm": image(uid=OTHER)}


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_a_mismatch_in_fragments(tmp_path: Path, size: int) -> None:
    for data, status in ((image(uid=OTHER), aiodimse.InstanceConflict), (GOOD, None)):
        with PartTenWriter(tmp_path, STORAGE, UID, wire.EXPLICIT_LE) as writer:
            expected = pytest.raises(status) if status is not None else contextlib.nullcontext()
            with expected:
                for at in range(0, len(data), size):
                    writer.write(data[at : at + size])
                writer.commit()
    assert kept(tmp_path) == {f"{UID}.dcm": GOOD}


# --- what is replaced -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["patient", "study", "series"])
@pytest.mark.parametrize("value", ["1.9", ""])
async def test_another_instance_does_not_replace(tmp_path: Path, other: str, value: str) -> None:
    async with sending(tmp_path) as sender:
        assert await sender.store(GOOD) == 0x0000
        assert await sender.store(image(**{other: value})) == 0xA900
        assert sender.comments[-1] == "another instance is stored under this SOP Instance UID"
    assert kept(tmp_path) == {f"{UID}.dcm": GOOD}
    again = [(wire.store_rq(str(STORAGE), UID, message_id=77), image(**{other: value}))]
    assert await fetch(tmp_path, again) == [0xA900]
    assert kept(tmp_path) == {f"{UID}.dcm": GOOD}


async def test_the_same_instance_replaces(tmp_path: Path) -> None:
    """Sent again, perhaps corrected: no other instance is lost by it."""
    async with sending(tmp_path) as sender:
        for data in (GOOD, GOOD, image(pixels=b"better" * 1000), image(pixels=bytes(3 << 20))):
            assert await sender.store(data) == 0x0000
            assert kept(tmp_path) == {f"{UID}.dcm": data}


DAMAGED = {
    "cut off in its pixels": GOOD[:-10],
    "cut off in its header": GOOD[:70],
    "cut off in an element's head": GOOD[:-405],
    "nothing": b"",
    "an unknown VR": GOOD.replace(b"UI", b"!!", 3).replace(b"!!", b"UI", 2),
    "a length past the end": GOOD.replace(b"LO\x02\0", b"LO\xff\xff"),
    "rubbish behind it": GOOD + b"rubbish that is no element",
    "a large one cut off": image(pixels=bytes(3 << 20))[:-2],
}


@pytest.mark.parametrize("case", DAMAGED)
async def test_what_cannot_be_read_replaces_nothing(tmp_path: Path, case: str) -> None:
    """The example: it was answered B007, and the good file was gone."""
    async with sending(tmp_path) as sender:
        assert await sender.store(GOOD) == 0x0000
        assert await sender.store(DAMAGED[case]) == 0xA900
        other = "another instance is stored under this SOP Instance UID"  # a data set without elements is a sound one
        words = other if case == "nothing" else "stored already, and this data set cannot be read to its end"
        assert sender.comments[-1] == words
    assert kept(tmp_path) == {f"{UID}.dcm": GOOD}


async def test_what_cannot_be_read_is_kept_where_nothing_is(tmp_path: Path) -> None:
    async with sending(tmp_path) as sender:
        assert await sender.store(DAMAGED["cut off in its pixels"]) == 0x0000
        assert await sender.store(GOOD) == 0x0000, "its header says that it is the same"
    assert kept(tmp_path) == {f"{UID}.dcm": GOOD}


async def test_a_file_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / f"{UID}.dcm").write_bytes(b"a letter")
    async with sending(tmp_path) as sender:
        assert await sender.store(GOOD) == 0xA900
    assert (tmp_path / f"{UID}.dcm").read_bytes() == b"a letter"


async def test_a_link_to_another_instance_is_not_replaced(tmp_path: Path) -> None:
    """Of a store whose older files are on another disk."""
    into, older = tmp_path / "into", tmp_path / "older"
    into.mkdir()
    async with sending(into) as sender:
        assert await sender.store(image(patient="B")) == 0x0000
        into.rename(older)
        into.mkdir()
        (into / f"{UID}.dcm").symlink_to(older / f"{UID}.dcm")
        assert await sender.store(GOOD) == 0xA900
        assert await sender.store(image(patient="B", pixels=b"new!")) == 0x0000
    assert not (into / f"{UID}.dcm").is_symlink()
    assert dcmread(older / f"{UID}.dcm").PatientID == "B"


@pytest.mark.parametrize("durable", [True, False])
async def test_one_uid_of_two_patients_at_once(tmp_path: Path, durable: bool) -> None:
    """Whichever is first stays, and the other senders hear of it."""
    for number in range(20):
        uid = f"1.2.{number}"
        datas = [image(uid=uid, patient=patient) for patient in "ABCD"]
        async with contextlib.AsyncExitStack() as stack:
            senders = [await stack.enter_async_context(sending(tmp_path, durable=durable)) for _ in datas]
            statuses = await asyncio.gather(
                *(sender.store(data, uid) for sender, data in zip(senders, datas, strict=True))
            )
        assert sorted(statuses) == [0x0000, 0xA900, 0xA900, 0xA900]
        assert kept(tmp_path)[f"{uid}.dcm"] == datas[statuses.index(0x0000)]


# --- names and the hook -----------------------------------------------------------------------------------------------


async def test_a_name_of_ones_own_with_folders_in_it(tmp_path: Path) -> None:
    async with sending(tmp_path, name="ab/cd/image") as sender:
        assert await sender.store(GOOD) == 0x0000
        assert await sender.store(image(patient="B")) == 0xA900
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == ["ab/cd/image"]
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    async with sending(tmp_path, name="ab/cd/image") as sender:
        assert await sender.store(GOOD) == 0x0000, "the folders that were known are gone"


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/../../x", "/x", "a\0b"])
async def test_a_name_that_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    dataset = dcmread_of(GOOD)
    with pytest.raises(ValueError, match="not the name"):
        await aiodimse.Instance.from_dataset(dataset).save(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def dcmread_of(data: bytes) -> Any:
    return decode_dataset(data, wire.EXPLICIT_LE)


async def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """Of a disk that is not mounted: the files would go somewhere else, and be gone when it is."""
    async with sending(tmp_path / "unmounted", name="ab/image") as sender:
        assert await sender.store(GOOD) == 0xA700
    assert list(tmp_path.iterdir()) == []


def as_a_plain_function(hook: Callable[[Path, bytes], Awaitable[None]]) -> Callable[[Path, bytes], None]:
    """The same hook, run in the thread that writes the file."""

    def before_name(file: Path, beginning: bytes) -> None:
        assert threading.current_thread() is not threading.main_thread()
        asyncio.run(cast("Any", hook(file, beginning)))

    return before_name


HOOKS = pytest.mark.parametrize("made", [lambda hook: hook, as_a_plain_function], ids=["async", "plain"])


@HOOKS
@pytest.mark.parametrize("pixels", [b"good" * 100, bytes(3 << 20)], ids=["small", "large"])
async def test_the_hook_sees_a_whole_file_without_its_name(tmp_path: Path, pixels: bytes, made: Any) -> None:
    seen: list[tuple[bytes, bytes, list[str]]] = []

    async def before_name(file: Path, beginning: bytes) -> None:
        seen.append((file.read_bytes(), beginning, [path.name for path in tmp_path.iterdir() if path != file]))

    data = image(pixels=pixels)
    async with sending(tmp_path, before_name=made(before_name)) as sender:
        assert await sender.store(data) == 0x0000
        assert await sender.store(image(patient="B")) == 0x0000, "the hook decides what is replaced"
        assert await sender.store(image(uid=OTHER)) == 0xA900, "but not what is named"
    ((file, beginning, others), (_, _, then)) = seen
    assert file.endswith(data)
    assert beginning == data[:65536]
    assert (others, then) == ([], [f"{UID}.dcm"])
    assert kept(tmp_path) == {f"{UID}.dcm": image(patient="B")}


class Kept(Exception):
    pass


@HOOKS
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (aiodimse.DIMSEFailure(0xA901, "no"), 0xA901),
        (aiodimse.InstanceConflict("no"), 0xA900),
        (OSError(28, "full"), 0xA700),
        (Kept(), 0xC211),
    ],
    ids=["DIMSEFailure", "InstanceConflict", "OSError", "another"],
)
async def test_a_hook_that_raises_leaves_nothing(tmp_path: Path, error: Exception, status: int, made: Any) -> None:
    async def before_name(file: Path, beginning: bytes) -> None:
        raise error

    async with sending(tmp_path, before_name=made(before_name)) as sender:
        assert await sender.store(GOOD) == status
    assert list(tmp_path.iterdir()) == []
    assert aiodimse.read_identity(GOOD, wire.EXPLICIT_LE) == aiodimse.Identity(str(STORAGE), UID, "1.2.1", "1.2.2", "A")
    assert aiodimse.read_identity(GOOD[:70], wire.EXPLICIT_LE) is None


@pytest.mark.parametrize("hooked", [None, "async", "plain"])
@pytest.mark.parametrize("durable", [True, False])
async def test_what_is_told_of_a_file_is_told_when_it_has_its_name(
    tmp_path: Path, hooked: str | None, durable: bool
) -> None:
    told: list[tuple[Path, bytes, bool]] = []

    async def before_name(file: Path, beginning: bytes) -> None:
        assert not told

    def after_name(file: Path, status: os.stat_result) -> None:
        assert (status.st_size, status.st_mtime_ns) == (file.stat().st_size, file.stat().st_mtime_ns)
        in_thread = threading.current_thread() is not threading.main_thread()
        told.append((file, file.read_bytes(), in_thread))

    hooks = {None: None, "async": before_name, "plain": as_a_plain_function(before_name)}
    async with sending(tmp_path, before_name=hooks[hooked], after_name=after_name, durable=durable) as sender:
        assert await sender.store(GOOD) == 0x0000
    ((file, data, in_thread),) = told
    assert file == tmp_path / f"{UID}.dcm"
    assert data.endswith(GOOD)
    assert in_thread


async def test_nobody_is_told_of_a_file_that_gets_no_name(tmp_path: Path) -> None:
    told: list[Path] = []
    async with sending(tmp_path, after_name=lambda file, _: told.append(file)) as sender:
        assert await sender.store(image(uid=OTHER)) == 0xA900
    assert told == []


async def test_a_file_stays_whoever_was_told_of_it_fails(tmp_path: Path) -> None:
    def after_name(file: Path, status: os.stat_result) -> None:
        raise aiodimse.DIMSEFailure(0xA901, "the index does not answer")

    async with sending(tmp_path, after_name=after_name) as sender:
        assert await sender.store(GOOD) == 0xA901
    assert kept(tmp_path) == {f"{UID}.dcm": GOOD}


# --- what is sent for a UID is that instance --------------------------------------------------------------------------


async def served(folder: Path, payloads: list[Any]) -> tuple[Any, list[str]]:
    """What a C-GET of these gives: the retrieval, and the patients that came."""
    server = aiodimse.Server(ae_title="ARCHIVE")

    @server.on_c_get(GET)
    async def get(request: Any) -> AsyncIterator[Any]:
        yield len(payloads)
        for payload in payloads:
            yield 0xFF00, payload

    patients: list[str] = []
    async with (
        server.listen(HOST, 0) as listening,
        aiodimse.connect(HOST, listening.port, called_ae_title="ARCHIVE", contexts=[GET], storage=[STORAGE]) as user,
        user.c_get(EMPTY, GET, allow_incomplete=True) as retrieval,
    ):
        async for instance in retrieval:
            patients += [str((await instance.dataset()).PatientID)]
    return retrieval, patients


async def saved(folder: Path, name: str, data: bytes) -> Path:
    return await aiodimse.Instance.from_dataset(dcmread_of(data)).save(folder, name)


@pytest.mark.parametrize("large", [False, True])
async def test_a_file_that_holds_another_instance_is_not_sent(tmp_path: Path, large: bool) -> None:
    pixels = bytes(1 << 20) if large else b"good"
    right = await saved(tmp_path, "right", image(pixels=pixels))
    wrong = await saved(tmp_path, "wrong", image(uid=OTHER, patient="B", pixels=pixels))
    payloads = [
        aiodimse.ReferencedFile(right, UID),
        aiodimse.ReferencedFile(wrong, "1.2.3.6"),
        aiodimse.ReferencedFile(tmp_path / "gone", "1.2.3.7"),
    ]
    retrieval, patients = await served(tmp_path, payloads)
    assert patients == ["A"]
    assert retrieval.status == 0xB000
    assert retrieval.failed_sop_instance_uids == ("1.2.3.6", "1.2.3.7")


@pytest.mark.parametrize("large", [False, True])
async def test_a_file_that_is_replaced_after_it_was_opened(tmp_path: Path, large: bool) -> None:
    pixels = bytes(1 << 20) if large else b"good"
    path = await saved(tmp_path, "file", image(pixels=pixels))
    instance = await aiodimse.Instance.open(path, sop_instance_uid=UID)
    path.unlink()
    await saved(tmp_path, "file", image(uid=OTHER, patient="B", pixels=pixels))
    with pytest.raises(aiodimse.InstanceConflict):
        await aiodimse.Instance.open(path, sop_instance_uid=UID)
    with pytest.raises(aiodimse.InstanceConflict):
        await instance.dataset()
    retrieval, patients = await served(tmp_path, [instance, aiodimse.ReferencedFile(path, OTHER)])
    assert patients == ["B"]
    assert retrieval.failed_sop_instance_uids == (UID,)


async def test_a_user_that_stores_a_file_that_was_replaced(tmp_path: Path) -> None:
    path = await saved(tmp_path, "file", image())
    instance = await aiodimse.Instance.open(path)
    path.unlink()
    await saved(tmp_path, "file", image(uid=OTHER, patient="B"))
    into = tmp_path / "into"
    into.mkdir()
    server = aiodimse.Server(ae_title="ARCHIVE")

    @server.on_c_store
    async def store(request: Any) -> int:
        await request.save(into)
        return 0x0000

    async with (
        server.listen(HOST, 0) as listening,
        aiodimse.connect(HOST, listening.port, called_ae_title="ARCHIVE", contexts=[STORAGE]) as user,
    ):
        for wrong in (instance, aiodimse.ReferencedFile(path, UID)):
            with pytest.raises(aiodimse.InstanceConflict):
                await user.c_store(wrong)
        assert (await user.c_store(aiodimse.ReferencedFile(path, OTHER))).status == 0x0000
    assert [path.name for path in into.iterdir()] == [f"{OTHER}.dcm"]
