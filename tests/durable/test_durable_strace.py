"""What the kernel is asked, in its own words: write, fsync of the file, rename, fsync of the folder, then the response.

strace follows the provider process; the order of the lines is the order of the calls.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from durable.material import STORAGE, instance
from durable.provider import TITLE

import aiodimse
from aiodimse.archive.storage.hashed import hashed_name

HOST = "127.0.0.1"
TRACED = "openat,write,writev,pwrite64,fsync,fdatasync,rename,renameat,renameat2,sendto,sendmsg,close"
SIZES = (400, 20_000, 300_000, 3_000_000, 1000)


def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        message = "strace is not installed; as root: apt-get install -y strace"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return found


@dataclass(frozen=True)
class Call:
    """One system call that has ended."""

    name: str
    arguments: str
    began: int
    """The number of the line that has its beginning; of its end."""
    ended: int


_WHOLE = re.compile(r"^(?P<pid>\d+) +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
_BEGUN = re.compile(r"^(?P<pid>\d+) +(?P<name>\w+)\((?P<arguments>.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(?P<pid>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<arguments>.*)\) += (?P<result>-?\d+)")


def calls_in(trace: str) -> list[Call]:
    """Every call that succeeded, in the order of their ends; strace cuts those of two threads in two lines each."""
    begun: dict[tuple[str, str], tuple[int, str]] = {}
    found = []
    for number, line in enumerate(trace.splitlines()):
        if (match := _BEGUN.match(line)) is not None:
            begun[match["pid"], match["name"]] = number, match["arguments"]
        elif (match := _RESUMED.match(line)) is not None:
            began, arguments = begun.pop((match["pid"], match["name"]), (number, ""))
            if int(match["result"]) >= 0:
                found.append(Call(match["name"], arguments + match["arguments"], began, number))
        elif (match := _WHOLE.match(line)) is not None and int(match["result"]) >= 0:
            found.append(Call(match["name"], match["arguments"], number, number))
    return found


async def traced(folder: Path, log: Path, uids: list[str], provider_script: str = "provider.py") -> None:
    """Store them, one after the other on one association, with a provider that strace watches."""
    script = Path(__file__).with_name(provider_script)
    process = await asyncio.create_subprocess_exec(
        strace(), "-f", "-y", "-s", "0", "-e", f"trace={TRACED}", "-e", "signal=none", "-o", str(log),
        sys.executable, str(script), str(folder),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    provider = 0
    try:
        async with asyncio.timeout(60):
            first = await process.stdout.readline()
            if not first:
                error = (await process.stderr.read()).decode()
                if "ptrace" in error and not os.environ.get("CI"):
                    pytest.skip(f"strace may not trace here: {error.splitlines()[0]}")
                pytest.fail(error)
            port, provider = map(int, first.split())
            async with aiodimse.connect(HOST, port, called_ae_title=TITLE, contexts=[STORAGE]) as association:
                for uid, size in zip(uids, SIZES, strict=True):
                    dataset = instance(uid, size)
                    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.1", "1.2.2"
                    assert (await association.c_store(dataset)).status == 0x0000
    finally:
        if provider:
            os.kill(provider, signal.SIGTERM)  # strace ends with it; with -o it takes no signal itself
        elif process.returncode is None:
            process.kill()
        await process.wait()


def sends_in(calls: list[Call]) -> list[Call]:
    """A-ASSOCIATE-AC, a C-STORE-RSP for each, A-RELEASE-RP."""
    sends = [
        call for call in calls if call.name in ("sendto", "sendmsg", "write", "writev") and "socket:" in call.arguments
    ]
    # Without the single bytes that wake the event loop.
    return [call for call in sends if not re.match(r"\d+<socket:\[\d+\]>, \"\"\.\.\., 1\b", call.arguments)]


@pytest.mark.timeout(120)
async def test_the_order_of_system_calls_for_each_store(
    tmp_path: Path, record_property: Callable[[str, int], None]
) -> None:
    folder, log = tmp_path / "saved", tmp_path / "trace.txt"
    folder.mkdir()
    uids = [f"1.2.3.{number}" for number in range(1, len(SIZES) + 1)]
    await traced(folder, log, uids)
    calls = calls_in(log.read_text(encoding="utf-8", errors="replace"))
    sends = sends_in(calls)
    assert len(sends) == len(uids) + 2, [str(call) for call in sends]
    for uid, response, before in zip(uids, sends[1:], sends, strict=False):
        mine = [call for call in calls if f"/.{uid}.dcm." in call.arguments]
        renames = [call for call in mine if call.name.startswith("rename")]
        writes = [call for call in mine if call.name in ("write", "writev", "pwrite64")]
        syncs = [call for call in mine if call.name in ("fsync", "fdatasync")]
        of_folder = [call for call in calls if call.name == "fsync" and call.arguments.endswith(f"<{folder}>")]
        of_folder = [call for call in of_folder if before.ended < call.began < response.began]
        assert (len(renames), len(syncs), len(of_folder)) == (1, 1, 1), uid
        assert writes, uid
        assert renames[0].arguments.rstrip('"').endswith(f"{folder}/{uid}.dcm"), renames[0]
        assert max(write.ended for write in writes) < syncs[0].began, uid
        assert syncs[0].ended < renames[0].began, uid
        assert renames[0].ended < of_folder[0].began, uid
        assert of_folder[0].ended < response.began, uid
    record_property("stores in the order of system calls", len(uids))


@pytest.mark.timeout(120)
async def test_the_order_of_system_calls_of_an_archive(tmp_path: Path) -> None:
    """As above; and the row of the index comes behind the file, and before the response."""
    folder, log = tmp_path / "archive", tmp_path / "trace.txt"
    folder.mkdir()
    uids = [f"1.2.3.{number}" for number in range(1, len(SIZES) + 1)]
    await traced(folder, log, uids, "archive_provider.py")
    calls = calls_in(log.read_text(encoding="utf-8", errors="replace"))
    sends = sends_in(calls)
    assert len(sends) == len(uids) + 2, [str(call) for call in sends]
    for uid, response, before in zip(uids, sends[1:], sends, strict=False):
        target = folder / hashed_name(uid)
        mine = [call for call in calls if f"/.{uid}.dcm." in call.arguments]
        (rename,) = [call for call in mine if call.name.startswith("rename")]
        (sync,) = [call for call in mine if call.name in ("fsync", "fdatasync")]
        writes = [call for call in mine if call.name in ("write", "writev", "pwrite64")]
        between = [call for call in calls if before.ended < call.began < response.began]
        of_folder = [call for call in between if call.name == "fsync" and f"<{target.parent}>" in call.arguments]
        rows = [call for call in between if call.name == "pwrite64" and "-index.db-wal>" in call.arguments]
        assert rename.arguments.rstrip('"').endswith(str(target)), rename
        assert max(write.ended for write in writes) < sync.began, uid
        assert sync.ended < rename.began, uid
        assert rename.ended < of_folder[-1].began, uid
        assert rows, uid
        assert of_folder[-1].ended < rows[0].began, uid
        assert rows[-1].ended < response.began, uid
