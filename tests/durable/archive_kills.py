"""kill -9 of what an archive stands on, during four senders: python tests/durable/archive_kills.py [WHAT [KILLS]].

WHAT is "workers" (of `serve --workers 2`), "database" (PostgreSQL) or "store" (an object store). Senders repeat what
was not acknowledged, as modalities do. They send objects of several kinds, some of them twice, and some of them at the
same time as the others. Then everything that was acknowledged has to be in the index and whole, and whatever is in the
index has to be whole.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from durable.material import STORAGE, instance, pattern

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import Archive, check

HOST = "127.0.0.1"
SENDERS = 4
SIZES = (500, 20_000, 300_000, 6_000_000)
"""In bytes: the last one makes an upload of two parts."""
CLASSES = (
    *(STORAGE,) * 5,
    sop_class.GenericImplantTemplateStorage,
    sop_class.HangingProtocolStorage,
    sop_class.ColorPaletteStorage,
)
"""What is sent, one after the other: images, and what belongs to no study."""
COMMON = 3
"""Each instance with this remainder modulo 5 is sent by all senders, so that they meet at it."""
TARGETS = ("workers", "database", "store")
_S3 = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1"}


@dataclass
class Tally:
    """What came of it."""

    kills: int = 0
    acknowledged: dict[str, int] = field(default_factory=dict)
    """SOP Instance UID -> size, of every store answered 0x0000."""
    refused: int = 0
    """Stores that were answered with a failure, and sent again."""
    again: int = 0
    """Instances that were sent again after they had been acknowledged."""
    broken: int = 0
    """Associations that ended."""
    lost: list[str] = field(default_factory=list)
    half: list[str] = field(default_factory=list)
    check: str = ""
    """What `aiodimse check` says at the end: what was stored and not acknowledged may be not in the index yet."""

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {len(self.acknowledged)} instances acknowledged: {len(self.lost)} lost,"
            f" {len(self.half)} half done ({self.refused} stores refused, {self.broken} associations broken,"
            f" {self.again} sent again); {self.check}"
        )


def next_of(sender: int, number: int) -> tuple[str, int]:
    """The UID and the size of what a sender sends."""
    uid = f"1.2.826.{SENDERS if number % 5 == COMMON else sender}.{number}"
    return uid, random.Random(uid).choice(SIZES)


def sent(uid: str, size: int) -> Any:
    """An object of one of the classes; an image is of a study of its sender."""
    dataset = instance(uid, size)
    study, _, number = uid.rpartition(".")
    dataset.SOPClassUID = CLASSES[int(number) % len(CLASSES)]
    if dataset.SOPClassUID == STORAGE:
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.0"
    else:
        del dataset.PatientID
    return dataset


class Postgres:
    """A PostgreSQL server in a temporary folder, which its user can reach. It does not run as root."""

    def __init__(self) -> None:
        from archive.databases import PROGRAMS

        self._folder, self._programs = Path(tempfile.mkdtemp(prefix="aiodimse-pg-")), PROGRAMS
        self._user = {"user": "postgres"} if os.geteuid() == 0 else {}
        self.url = f"postgresql://aiodimse@/postgres?host={self._folder}"

    def make(self) -> None:
        """Make and start it."""
        if self._user:
            shutil.chown(self._folder, "postgres")
        words = ("-U", "aiodimse", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale", "C.UTF-8")
        self._run("initdb", "-D", f"{self._folder}/data", *words)
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-k {self._folder} -c listen_addresses= -c shared_buffers=16MB"
        words = ("-D", f"{self._folder}/data", "-w", "-l", "/dev/null", "-o", options, "start")
        for _ in range(50):  # its processes that lived on keep the shared memory for a moment
            with suppress(subprocess.CalledProcessError):
                self._run("pg_ctl", *words)
                return
        self._run("pg_ctl", *words)

    def kill(self) -> None:
        """SIGKILL to the server; its own processes end when they see it."""
        os.kill(self._pid, signal.SIGKILL)

    def signal_all(self, number: int) -> None:
        """Send a signal to the server and its own processes."""
        children = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split()
        for pid in (self._pid, *map(int, children)):
            os.kill(pid, number)

    @property
    def _pid(self) -> int:
        return int((self._folder / "data" / "postmaster.pid").read_text().split()[0])

    def stop(self) -> None:
        """End it, and remove its folder."""
        with suppress(subprocess.CalledProcessError):
            self._run("pg_ctl", "-D", f"{self._folder}/data", "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *words: str) -> None:
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **self._user}
        subprocess.run([f"{self._programs}/{program}", *words], check=True, cwd=self._folder, **quiet)


class Store:
    """An object store in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port = folder, 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, on the port that it had."""
        script = Path(__file__).with_name("store.py")
        words = [sys.executable, str(script), str(self._folder), str(self.port)]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


class Run:
    """One archive, and what it stands on."""

    def __init__(self, target: str, folder: Path) -> None:
        self.target, self.folder = target, folder
        self.location, self.index, self.port = str(folder / "files"), "", 0
        self.process: asyncio.subprocess.Process | None = None
        self.is_up = asyncio.Event()
        """All that it stands on runs."""
        self.database, self.store = Postgres(), Store(folder / "store")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything is started."""
        for name in ("files", "store"):
            (self.folder / name).mkdir()
        async with AsyncExitStack() as stack:
            stack.callback(self.database.stop)
            if self.target != "workers":
                await asyncio.to_thread(self.database.make)
                self.index = self.database.url
            if self.target == "store":
                self.store.start()
                stack.callback(self.store.kill)
                self.location = "s3://bucket/archive"
                os.environ.update(_S3, AWS_ENDPOINT=f"http://{HOST}:{self.store.port}")
            words = ["serve", self.location, "--port", "0", "--json", *(["--index", self.index] if self.index else [])]
            words += ["--workers", "2"] if self.target == "workers" else []
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "aiodimse", *words, stdout=asyncio.subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            stack.push_async_callback(self.end)
            assert self.process.stdout is not None
            while (event := json.loads(await self.process.stdout.readline())).get("event") != "ready":
                pass
            self.port = event["port"]
            self.is_up.set()
            hearing = asyncio.create_task(self._hear(self.process.stdout))
            yield
            await self.end()
            await hearing

    async def _hear(self, said: asyncio.StreamReader) -> None:
        async for line in said:
            if json.loads(line).get("event") == "worker":  # which serves again
                self.is_up.set()

    async def end(self) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()

    async def kill(self, dice: random.Random) -> None:
        """Kill it, and start it again where nobody else does."""
        await self.is_up.wait()
        self.is_up.clear()
        if self.target == "workers":
            assert self.process is not None
            pid = self.process.pid
            workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            os.kill(int(dice.choice(workers)), signal.SIGKILL)
            return
        server = self.database if self.target == "database" else self.store
        server.kill()
        await asyncio.to_thread(server.start)
        self.is_up.set()


async def _send(run: Run, sender: int, tally: Tally, acknowledged: asyncio.Event) -> None:
    """Store one instance after the other, again and again until each is acknowledged."""
    dice, number, is_done = random.Random(sender), 0, True
    uid, size = "", 0
    while True:
        with suppress(aiodimse.AiodimseError, OSError):
            connecting = aiodimse.connect(HOST, run.port, called_ae_title="AIODIMSE", contexts=sorted(set(CLASSES)))
            async with connecting as association:
                while True:
                    if is_done and number and dice.random() < 0.2:
                        tally.again += 1  # the last one
                    elif is_done:
                        number += 1
                        uid, size = next_of(sender, number)
                    is_done = False  # whatever happens
                    status = (await association.c_store(sent(uid, size))).status
                    is_done = status == 0x0000
                    if is_done:
                        tally.acknowledged[uid] = size
                        acknowledged.set()
                    else:
                        tally.refused += 1
                        await run.is_up.wait()
        tally.broken += 1
        await run.is_up.wait()


async def _look(run: Run, tally: Tally) -> None:
    """Compare what was acknowledged with the index, and the index with the objects."""
    archive = await Archive.open(run.location, index=run.index or None, scan=False)
    try:
        report = await check(archive, read=True)
        tally.check = str(report)
        tally.half = [*report.missing, *report.other, *report.changed]
        known = await archive.index.lookup(list(tally.acknowledged))
        for uid, size in tally.acknowledged.items():
            if uid not in known or not await _is_whole(archive, known[uid], size):
                tally.lost.append(uid)
        assert report.objects >= len(tally.acknowledged) - len(tally.lost), "what is stored was not compared"
    finally:
        await archive.close()


async def _is_whole(archive: Archive, entry: Any, size: int) -> bool:
    payload = archive.storage.payload(entry)
    read = payload if isinstance(payload, aiodimse.Instance) else await aiodimse.Instance.open(payload.path)
    return bytes((await read.dataset()).PixelData) == pattern(entry.sop_instance_uid, size)


async def kills(target: str, folder: Path, number: int, seed: int = 1) -> Tally:
    """Kill so often during stores, and look at what is left."""
    tally, dice, run = Tally(), random.Random(seed), Run(target, folder)
    async with run.running():
        acknowledged = asyncio.Event()
        senders = [asyncio.create_task(_send(run, sender, tally, acknowledged)) for sender in range(SENDERS)]
        for _ in range(number):
            enough = len(tally.acknowledged) + dice.randint(1, 12)
            async with asyncio.timeout(120):
                while len(tally.acknowledged) < enough:
                    acknowledged.clear()
                    await acknowledged.wait()
            for _ in range(dice.randint(0, 200)):  # somewhere in the middle of something
                await asyncio.sleep(0)
            await run.kill(dice)
            tally.kills += 1
        enough = len(tally.acknowledged) + SENDERS
        async with asyncio.timeout(120):
            while len(tally.acknowledged) < enough:  # it serves again
                acknowledged.clear()
                await acknowledged.wait()
        for sender in senders:
            sender.cancel()
        await asyncio.wait(senders)
        await run.end()  # what stands below lives on
        await _look(run, tally)
    return tally


if __name__ == "__main__":
    for what in sys.argv[1:2] or TARGETS:
        wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 20
        with tempfile.TemporaryDirectory() as where:
            result = asyncio.run(kills(what, Path(where), wanted))
        print(f"{what}: {result}", *result.lost, *result.half, sep="\n  ")
        if result.lost or result.half:
            sys.exit(1)
