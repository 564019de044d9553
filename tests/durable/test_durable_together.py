"""Files that are finished together: each step for all of them, and what goes wrong with one concerns only that one."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
from durable.material import STORAGE
from scripted import wire

import aiodimse
from aiodimse.aio import rounds
from aiodimse.datasets import Finish, PartTenWriter, finish_together, naming, saving
from aiodimse.errors import InstanceConflict
from aiodimse.services import finishing

SECONDS = 20.0
SYNTAX = wire.EXPLICIT_LE


def data_of(uid: str) -> bytes:
    return wire.dataset({(0x0008, 0x0016): ("UI", STORAGE), (0x0008, 0x0018): ("UI", uid)})


def file(folder: Path, name: str, uid: str | None = None, *, durable: bool = True, **hooks: Any) -> Finish:
    """A file whose data set says that it is the instance `uid`, by default the one that it is saved as."""
    number = name.rpartition("/")[2]
    writer = PartTenWriter(folder, STORAGE, f"1.2.{number}", SYNTAX, name=f"{name}.dcm", durable=durable)
    return Finish(writer, [data_of(uid or f"1.2.{number}")], **hooks)


def opened(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_each_step_is_taken_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def noted(name: str) -> Any:
        real = getattr(os, name)

        def call(*args: Any, **more: Any) -> Any:
            is_folder = name == "fsync" and opened(args[0]).is_dir()
            steps.append(f"flush {opened(args[0]).name}" if is_folder else name)
            return real(*args, **more)

        return call

    files = [
        file(
            tmp_path,
            f"f/{number}",
            before_name=lambda *_: steps.append("before_name"),
            after_name=lambda *_: steps.append("after_name"),
            after_round=lambda: steps.append("after_round"),
        )
        for number in range(2)
    ]
    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noted(name))
    finish_together(files)
    assert steps == [
        *("before_name", "before_name"),
        *("fsync", "fsync"),
        *("replace", "replace"),
        *("flush f", f"flush {tmp_path.name}"),
        *("after_name", "after_name"),
        *("after_round", "after_round"),
    ]
    assert [each.result() for each in files] == [tmp_path / "f" / f"{number}.dcm" for number in range(2)]
    steps.clear()
    finish_together([file(tmp_path, "f/2")])
    assert steps == ["fsync", "replace", "flush f"], "the folder above is flushed once"


@pytest.mark.parametrize(("durable", "waited"), [(True, 35.0), (False, 0.0)])
def test_it_tells_for_how_long_it_waited_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool, waited: float
) -> None:
    """Each flush takes 5 s: three files, their two folders, and twice the one above. Nothing else counts."""
    now = 1000.0

    def pass_time(_: object) -> None:
        nonlocal now
        now += 5.0

    monkeypatch.setattr(os, "fsync", pass_time)
    monkeypatch.setattr(saving, "monotonic", lambda: now)
    files = [
        file(tmp_path, name, durable=durable, before_name=lambda path, _: pass_time(path))
        for name in ("f/0", "f/1", "g/2")
    ]
    assert finish_together(files) == waited


@pytest.mark.parametrize("bad", ["identity", "before_name", "after_name", "after_round", "a folder in the way"])
def test_what_goes_wrong_with_one_file(tmp_path: Path, bad: str) -> None:
    def fail(*_: object) -> None:
        raise PermissionError("no")

    if bad == "a folder in the way":
        (tmp_path / "1.dcm").mkdir()
    hooks: dict[str, Any] = {bad: fail} if bad.startswith(("before", "after")) else {}
    one = file(tmp_path, "1", "1.2.9" if bad == "identity" else None, **hooks)
    files = [file(tmp_path, "0"), one, file(tmp_path, "2")]
    finish_together(files)
    assert [files[number].result().name for number in (0, 2)] == ["0.dcm", "2.dcm"]
    with pytest.raises(InstanceConflict if bad == "identity" else OSError):
        one.result()
    stays = bad.startswith("after")
    assert names(tmp_path) == ["0.dcm", *(["1.dcm"] if stays else []), "2.dcm"]


def test_an_error_keeps_nothing(tmp_path: Path) -> None:
    """Nor does it wait for the collector, which comes seldom while large data sets come often."""

    class Refused(Exception):
        pass

    def refuse(*_: object) -> None:
        raise Refused

    one = file(tmp_path, "1", before_name=refuse)
    gc.collect()
    gc.disable()
    try:
        finish_together([one])
        try:
            one.result()
        except Refused as error:
            kept = weakref.ref(error)
        assert kept() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("step", ["fsync", "replace", "open"])
def test_a_disk_that_fails_for_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    files = [file(tmp_path, f"{number}") for number in range(3)]
    one, real = files[1].writer._temporary, getattr(os, step)

    def call(*args: Any, **more: Any) -> Any:
        path = str(opened(args[0])) if step == "fsync" else args[0]
        if path == one:
            raise OSError(5, "broken")
        return real(*args, **more)

    monkeypatch.setattr(os, step, call)
    finish_together(files)
    with pytest.raises(OSError, match="broken"):
        files[1].result()
    assert names(tmp_path) == ["0.dcm", "2.dcm"]


def test_a_new_folder_whose_name_cannot_be_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if opened(descriptor) == tmp_path / "a":
            raise OSError(5, "broken")
        real(descriptor)

    files = [file(tmp_path, name) for name in ("a/b/0", "c/1")]
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        finish_together(files)
    with pytest.raises(OSError, match="broken"):
        files[0].result()
    assert files[1].result().exists()
    assert names(tmp_path) == ["c/1.dcm"]
    again = file(tmp_path, "a/b/0")
    finish_together([again])
    assert again.result().exists()


@pytest.mark.parametrize("durable", [True, False])
def test_a_folder_that_cannot_be_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool) -> None:
    """The new names in it are taken back, and what is in other folders stays."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    files = [file(tmp_path, f"{folder}/{number}", durable=durable) for number, folder in enumerate("aba")]
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if opened(descriptor) == tmp_path / "a":
            raise OSError(5, "broken")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    finish_together(files)
    assert names(tmp_path) == (["b/1.dcm"] if durable else ["a/0.dcm", "a/2.dcm", "b/1.dcm"])
    for number in (0, 2):
        if durable:
            with pytest.raises(OSError, match="broken"):
                files[number].result()
        else:
            assert files[number].result().exists()
    assert files[1].result().name == "1.dcm"


class Hook:
    """A plain before_name that waits until it may end."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self, file: Path, beginning: bytes) -> None:
        self.begun.set()
        assert self.may_end.wait(SECONDS)


async def saved(folder: Path, source: Path, hook: Any = None) -> Path:
    instance = await aiodimse.Instance.open(source)
    return await instance.save(folder, before_name=hook)


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    (tmp_path / "sources").mkdir()
    files = [file(tmp_path / "sources", f"{number}") for number in range(5)]
    finish_together(files)
    return [each.result() for each in files]


async def test_saves_at_the_same_time_are_finished_together(
    tmp_path: Path, sources: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def noted(files: list[Finish]) -> float:
        sizes.append(len(files))
        return finish_together(files)

    monkeypatch.setattr(finishing, "finish_together", noted)
    monkeypatch.setattr(rounds.Rounds.__init__, "__defaults__", (SECONDS,))
    folder, hook = tmp_path / "in", Hook()
    folder.mkdir()
    first = asyncio.create_task(saved(folder, sources[0], hook))
    assert await asyncio.to_thread(hook.begun.wait, SECONDS)
    waits: asyncio.Queue[bool] = asyncio.Queue()
    add = rounds.Rounds._add

    def noted_add(made: rounds.Rounds[Finish], waiting: Any) -> bool:
        waits.put_nowait(True)
        return add(made, waiting)

    monkeypatch.setattr(rounds.Rounds, "_add", noted_add)
    instances = [await aiodimse.Instance.open(source) for source in sources[1:]]
    others = [asyncio.create_task(instance.save(folder)) for instance in instances]
    for _ in others:
        await asyncio.wait_for(waits.get(), SECONDS)
    hook.may_end.set()
    await asyncio.wait_for(asyncio.gather(first, *others), SECONDS)
    assert sizes == [1, 4]
    assert len(names(folder)) == 5


async def test_a_disk_that_hangs_keeps_nobody_who_saves_to_another(tmp_path: Path, sources: list[Path]) -> None:
    hooks = [Hook() for _ in range(4)]
    for name in ("hung", "fine"):
        (tmp_path / name).mkdir()
    hung = []
    for hook, source in zip(hooks, sources, strict=False):
        hung.append(asyncio.create_task(saved(tmp_path / "hung", source, hook)))
        assert await asyncio.to_thread(hook.begun.wait, SECONDS)
    assert (await asyncio.wait_for(saved(tmp_path / "fine", sources[0]), SECONDS)).exists()
    for hook in hooks:
        hook.may_end.set()
    await asyncio.wait_for(asyncio.gather(*hung), SECONDS)


async def test_what_is_on_the_disk_already_is_finished_alone(
    tmp_path: Path, sources: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To flush a long file takes long."""

    async def no_rounds(*_: object) -> None:
        raise AssertionError("a round")

    monkeypatch.setattr("aiodimse.aio.rounds.Rounds.run_to_end", no_rounds)
    instance = await aiodimse.Instance.open(sources[0])

    async def pieces() -> Any:
        yield data_of("1.2.0")
        for _ in range(3):
            yield bytes(1 << 20)

    monkeypatch.setattr(instance, "stream", pieces)
    assert (await instance.save(tmp_path, name="large.dcm")).stat().st_size > 3 << 20


async def test_nothing_is_kept_of_a_folder(tmp_path: Path, sources: list[Path]) -> None:
    gone, hook = threading.Event(), Hook()
    task = asyncio.create_task(saved(tmp_path, sources[0], hook))
    assert await asyncio.to_thread(hook.begun.wait, SECONDS)
    weakref.finalize(finishing._rounds[str(tmp_path)], gone.set)
    hook.may_end.set()
    await task
    assert await asyncio.to_thread(gone.wait, SECONDS)
    assert str(tmp_path) not in finishing._rounds


async def test_what_an_instance_is_read_from_is_closed_though_it_cannot_be_saved(tmp_path: Path) -> None:
    closed: list[bool] = []

    class Source:
        def __init__(self) -> None:
            self.pieces = [*[bytes(1 << 20)] * 3, data_of("1.2.1")]

        def __aiter__(self) -> Source:
            return self

        async def __anext__(self) -> bytes:
            if not self.pieces:
                raise StopAsyncIteration
            return self.pieces.pop()

        async def aclose(self) -> None:
            closed.append(True)

    one = file(tmp_path, "1")
    finish_together([one])
    instance = await aiodimse.Instance.open(one.result())
    instance.stream = Source  # type: ignore[assignment,method-assign]
    with pytest.raises(FileNotFoundError):
        await instance.save(tmp_path / "missing")
    assert closed == [True]


def test_a_folder_that_somebody_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example because its disk hangs: 64 locks stand for all folders."""
    monkeypatch.setattr(naming, "_LOCKED_AT_MOST", 0.01)
    one = file(tmp_path, "1")
    with naming.Folder(str(tmp_path)) as folder, folder.locked():
        finish_together([one])
    with pytest.raises(OSError, match="stays locked"):
        one.result()
    assert names(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_lock_that_is_held_at_a_fork_is_free_in_the_child(tmp_path: Path) -> None:
    with naming.Folder(str(tmp_path)) as folder, folder.locked():
        child = os.fork()
        if not child:
            os._exit(sum(lock.locked() for lock in naming._LOCKS))
        assert os.waitpid(child, 0)[1] == 0
