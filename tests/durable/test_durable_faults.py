"""A disk that fails at any step of a save, under a live Server: 0xA700, nothing left, and the association goes on."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from durable.material import STORAGE, check, instance
from scripted import wire
from scripted.peer import ScriptedListener

import aiodimse
from aiodimse import sop_class
from aiodimse.datasets import naming
from aiodimse.datasets import saving as saving_files

HOST = "127.0.0.1"
SMALL, LARGE = 1000, (5 << 20) // 2
STEPS = (
    "open file",
    "write",
    "fsync file",
    "fstat",
    "close file",
    "open directory",
    "rename",
    "fsync directory",
    "close directory",
)
"""The system calls of a save that is one hop. What each of them can leave behind is different."""
GET = sop_class.StudyRootQueryRetrieveInformationModelGet


class Disk:
    """The os module as a save sees it: it notes the steps of a save, and lets one of them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self.fail_at: int | str | None = None
        self.error = 0
        self._directories: set[int] = set()
        wrapped = {name: self._wrap(name) for name in ("open", "write", "writev", "fsync", "fstat", "close", "replace")}
        for module in (saving_files, naming):
            monkeypatch.setattr(module, "os", SimpleNamespace(**{**vars(os), **wrapped}))

    def _wrap(self, name: str) -> Callable[..., Any]:
        real = getattr(os, name)
        names = {"replace": "rename", "writev": "write"}

        def call(*args: Any, **more: Any) -> Any:
            of_directory = bool(args[1] & os.O_DIRECTORY) if name == "open" else args[0] in self._directories
            what = names.get(name, name)
            if name in ("open", "fsync", "close"):
                what += " directory" if of_directory else " file"
            self.steps.append(what)
            fails = self.fail_at in (what, len(self.steps) - 1)
            if fails and name in ("write", "writev"):  # half of it is on the disk
                data = b"".join(args[1]) if name == "writev" else bytes(args[1])
                os.write(args[0], data[: len(data) // 2])
            if fails and name == "close":
                real(*args)  # as Linux: the descriptor is gone whatever close says
            if fails:
                self._directories.discard(args[0])
                raise OSError(self.error, os.strerror(self.error))
            result = real(*args, **more)
            if name == "open" and of_directory:
                self._directories.add(result)
            if name == "close":
                self._directories.discard(args[0])
            return result

        return call

    def arm(self, step: int | str | None, error: int = 0) -> None:
        """From now on the step of this name, or number, fails."""
        self.steps.clear()
        self.fail_at, self.error = step, error


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@asynccontextmanager
async def saving(folder: Path, **options: Any) -> AsyncIterator[aiodimse.Association]:
    """An association with a Server that saves what comes."""
    server = aiodimse.Server(ae_title="ARCHIVE")

    @server.on_c_store
    async def store(request: Any) -> int:
        await request.save(folder, **options)
        return 0x0000

    async with (
        server.listen(HOST, 0) as listening,
        aiodimse.connect(HOST, listening.port, called_ae_title="ARCHIVE", contexts=[STORAGE]) as association,
    ):
        yield association


def open_files() -> int:
    known = Path("/proc/self/fd")
    return len(list(known.iterdir())) if known.is_dir() else 0


async def test_the_steps_of_a_save(disk: Disk, tmp_path: Path) -> None:
    """That the list which the other tests go through is the whole one."""
    async with saving(tmp_path) as association:
        assert (await association.c_store(instance("1.2.3", SMALL))).status == 0x0000
        assert tuple(disk.steps) == STEPS
        disk.arm(None)
        assert (await association.c_store(instance("1.2.4", LARGE))).status == 0x0000
        assert disk.steps.count("write") > 2
        assert tuple(dict.fromkeys(disk.steps)) == STEPS


@pytest.mark.parametrize("is_refused", [True, False])
async def test_what_is_refused_before_its_name_costs_no_fsync(disk: Disk, tmp_path: Path, is_refused: bool) -> None:
    def before_name(file: Path, beginning: bytes) -> None:
        disk.steps.append("before_name")
        if is_refused:
            raise aiodimse.DIMSEFailure(0xA901, "there is one already")

    def after_name(file: Path, status: os.stat_result) -> None:
        disk.steps.append("after_name")

    async with saving(tmp_path, before_name=before_name, after_name=after_name) as association:
        expected = 0xA901 if is_refused else 0x0000
        assert (await association.c_store(instance("1.2.3", SMALL))).status == expected
    steps = ["open file", "write", "before_name", *(["close file"] if is_refused else STEPS[2:]), "after_name"]
    assert disk.steps == (steps[:-1] if is_refused else steps)
    assert len(list(tmp_path.iterdir())) == (not is_refused)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT], ids=errno.errorcode.get)
@pytest.mark.parametrize("step", STEPS)
async def test_a_fault_at_any_step(
    disk: Disk, tmp_path: Path, caplog: pytest.LogCaptureFixture, step: str, error: int
) -> None:
    async with saving(tmp_path) as association:
        assert (await association.c_store(instance("1.2.1", SMALL))).status == 0x0000
        before = open_files()
        disk.arm(step, error)
        response = await association.c_store(instance("1.2.2", SMALL))
        assert (int(response.status), association.is_open) == (0xA700, True)
        assert response.error_comment
        assert [path.name for path in tmp_path.iterdir()] == ["1.2.1.dcm"]
        disk.arm(None)
        assert (await association.c_store(instance("1.2.2", SMALL))).status == 0x0000
        assert open_files() == before
    assert {path.name for path in tmp_path.iterdir()} == {"1.2.1.dcm", "1.2.2.dcm"}
    for path in tmp_path.iterdir():
        check(path)
    assert any(record.levelno >= logging.ERROR and "OSError" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("step", range(12))
async def test_a_fault_at_any_step_of_a_large_save(disk: Disk, tmp_path: Path, step: int) -> None:
    """Several hops to the file pool, the data set still arriving; what comes after the fault is read and dropped."""
    async with saving(tmp_path) as association:
        disk.arm(step, errno.ENOSPC)
        response = await association.c_store(instance("1.2.3", LARGE))
        if len(disk.steps) <= step:
            assert response.status == 0x0000  # fewer steps than that this time: nothing failed
            return
        assert response.status == 0xA700
        assert list(tmp_path.iterdir()) == []
        disk.arm(None)
        assert (await association.c_store(instance("1.2.3", LARGE))).status == 0x0000
    check(tmp_path / "1.2.3.dcm")


@pytest.mark.parametrize("step", [step for step in STEPS if step != "fstat"])
async def test_a_failed_replacement_leaves_a_whole_file(disk: Disk, tmp_path: Path, step: str) -> None:
    """The UID is there already. Before the rename the old file stays; after it the new one is, never half of one."""
    async with saving(tmp_path) as association:
        assert (await association.c_store(instance("1.2.3", SMALL))).status == 0x0000
        disk.arm(step, errno.EIO)
        assert (await association.c_store(instance("1.2.3", 2 * SMALL))).status == 0xA700
    (path,) = tmp_path.iterdir()
    expected = SMALL if STEPS.index(step) <= STEPS.index("rename") else 2 * SMALL
    assert len(check(path)) == expected


async def test_short_writes_are_carried_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """write(2) may take less than it is given: here a seventh of it."""
    real = os.write

    def short(fd: int, data: Any) -> int:
        return real(fd, bytes(data)[: max(len(data) // 7, 1)])

    fake = {name: value for name, value in vars(os).items() if name != "writev"}
    monkeypatch.setattr(saving_files, "os", SimpleNamespace(**{**fake, "write": short}))
    async with saving(tmp_path) as association:
        assert (await association.c_store(instance("1.2.3", LARGE))).status == 0x0000
    check(tmp_path / "1.2.3.dcm")


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    async with saving(tmp_path / "unmounted") as association:
        assert (await association.c_store(instance("1.2.3", SMALL))).status == 0xA700
        (tmp_path / "unmounted").mkdir()
        assert (await association.c_store(instance("1.2.3", SMALL))).status == 0x0000


async def test_a_full_device(tmp_path: Path) -> None:
    """No make-believe: /dev/full says ENOSPC to every write. The folder's name for the file leads there."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this machine")
    real = os.open

    def to_full(path: Any, flags: int, *more: Any, **named: Any) -> int:
        return real(full, os.O_WRONLY) if str(path).endswith(".part") else real(path, flags, *more, **named)

    async with saving(tmp_path) as association:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(saving_files, "os", SimpleNamespace(**{**vars(os), "open": to_full}))
            assert (await association.c_store(instance("1.2.3", SMALL))).status == 0xA700
        assert (await association.c_store(instance("1.2.3", SMALL))).status == 0x0000


# --- C-GET user -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("step", ["write", "fsync file", "rename", "fsync directory"])
async def test_a_c_get_user_that_cannot_save_does_not_say_success(
    disk: Disk, tmp_path: Path, step: str, size: int
) -> None:
    """Every byte was read, and yet nothing is on the disk: the provider must not hear 0x0000 for it."""
    server = aiodimse.Server(ae_title="ARCHIVE")
    seen: list[Any] = []

    @server.on_c_get(GET)
    async def get(request: Any) -> AsyncIterator[Any]:
        yield 2
        yield instance("1.2.1", size)
        yield instance("1.2.2", SMALL)

    async with (
        server.listen(HOST, 0) as listening,
        aiodimse.connect(HOST, listening.port, called_ae_title="ARCHIVE", contexts=[GET], storage=[STORAGE]) as user,
        user.c_get(aiodimse.EncodedDataset(b"", wire.EXPLICIT_LE), GET, allow_incomplete=True) as retrieval,
    ):
        async for arriving in retrieval:
            seen.append(arriving.sop_instance_uid)
            disk.arm(step if len(seen) == 1 else None, errno.ENOSPC)
            with suppress(OSError):
                await arriving.save(tmp_path)
    assert seen == ["1.2.1", "1.2.2"]
    assert (retrieval.status, retrieval.failed_sop_instance_uids) == (0xB000, ("1.2.1",))
    assert (retrieval.progress.completed, retrieval.progress.failed) == (1, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["1.2.2.dcm"]


@pytest.mark.parametrize("then", ["goes on", "leaves", "discards it"])
async def test_what_a_provider_hears_of_a_failed_save(disk: Disk, tmp_path: Path, then: str) -> None:
    async with await ScriptedListener.open() as listener:

        async def provide() -> int | None:
            peer = await listener.accept()
            await peer.accept()
            request = await peer.read_message()
            context = next(key for key, (uid, _) in peer.association.proposed.items() if uid == STORAGE)
            data = wire.dataset({(0x0008, 0x0018): ("UI", "1.2.3")})
            await peer.request(context, wire.store_rq(str(STORAGE), "1.2.3", message_id=77), data)
            while (answer := await peer.read_message()).field == wire.C_CANCEL:
                pass  # a C-CANCEL may come first
            await peer.respond(request, 0xFE00)
            while (await peer.read_pdu()).kind != wire.A_RELEASE_RQ:
                pass
            await peer.send(wire.RELEASE_RP)
            await peer.expect_close()
            return answer.status

        task = asyncio.create_task(provide())
        async with (
            aiodimse.connect(HOST, listener.port, contexts=[GET], storage=[STORAGE]) as user,
            user.c_get(aiodimse.EncodedDataset(b"", wire.EXPLICIT_LE), GET, allow_incomplete=True) as retrieval,
        ):
            async for arriving in retrieval:
                disk.arm("fsync file", errno.EIO)
                with pytest.raises(OSError, match="error"):
                    await arriving.save(tmp_path)
                if then == "discards it":
                    await arriving.discard()
                if then == "leaves":
                    break
        assert await task == (0x0000 if then == "discards it" else 0xA700)
    assert list(tmp_path.iterdir()) == []
