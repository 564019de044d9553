"""kill -9 of the peer while a pool sends to it: python tests/durable/pool_kills.py [INSTANCES] [KILLS].

The peer is our own provider, and then storescp --fork of DCMTK. It comes back on the same port after each kill. Every
instance arrives at last, and none that was reported stored is missing or is not what was sent.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from durable.material import STORAGE, instance, pattern
from durable.provider import TITLE
from pydicom import dcmread
from pydicom.dataset import Dataset

import aiodimse

HOST = "127.0.0.1"
SIZES = (500, 5_000, 40_000)
"""In bytes."""
Command = Callable[[Path, int], Sequence[str]]
"""The words that start a peer which saves into this folder and listens on this port."""


def ours(folder: Path, port: int) -> Sequence[str]:
    """Our provider, which saves with fsync."""
    return [sys.executable, str(Path(__file__).with_name("provider.py")), str(folder), str(port)]


def storescp(folder: Path, port: int) -> Sequence[str]:
    """DCMTK's, a process for each association."""
    return ["storescp", "--fork", "+B", "-od", str(folder), str(port)]


@dataclass
class Tally:
    """What came of it."""

    wanted: int
    kills: int = 0
    rounds: int = 0
    """How often what had not been reported stored was sent again."""
    failures: int = 0
    """Results without a response."""
    stored: dict[str, int] = field(default_factory=dict)
    """SOP Instance UID -> size, of every instance that was reported stored."""
    missing: list[str] = field(default_factory=list)
    """Those of them that are not there, or are not what was sent."""

    def __str__(self) -> str:
        return (
            f"{self.wanted} instances, {self.kills} kills: {len(self.stored)} reported stored in {self.rounds} rounds"
            f" ({self.failures} failures on the way), {len(self.missing)} of them missing"
        )


class _Peer:
    """A process that listens on one port, is killed and started again."""

    def __init__(self, command: Command, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port = int(probe.getsockname()[1])
        self._words = command(folder, self.port)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        nowhere = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            *self._words, stdout=nowhere, stderr=nowhere, start_new_session=True
        )

    async def kill(self) -> None:
        """The process, and those that it has forked."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _images(sizes: dict[str, int]) -> Iterator[Dataset]:
    for uid, size in sizes.items():
        yield instance(uid, size)


async def _send(pool: aiodimse.Pool, sizes: dict[str, int], tally: Tally, progress: asyncio.Event) -> None:
    """Send all, and again what was not reported stored, until everything was."""
    while left := {uid: size for uid, size in sizes.items() if uid not in tally.stored}:
        tally.rounds += 1
        async for result in pool.c_store_many(_images(left)):
            if result.response is None or result.response.status != 0x0000:
                assert isinstance(result.error, aiodimse.AssociationError), result
                tally.failures += 1
                continue
            uid = str(result.source.SOPInstanceUID)  # type: ignore[union-attr]
            tally.stored[uid] = sizes[uid]
            progress.set()


async def kill_while_sending(command: Command, folder: Path, instances: int, kills: int, seed: int = 1) -> Tally:
    """Send so many instances over a pool of four associations while the peer is killed so often."""
    dice, tally, progress = random.Random(seed), Tally(instances), asyncio.Event()
    sizes = {f"1.2.826.9.{number}": dice.choice(SIZES) for number in range(1, instances + 1)}
    peer = _Peer(command, folder)
    await peer.start()
    try:
        async with aiodimse.Pool(
            HOST, peer.port, contexts=[STORAGE], called_ae_title=TITLE, max_size=4, acquire_timeout=60.0
        ) as pool:
            sending = asyncio.create_task(_send(pool, sizes, tally, progress))
            for number in range(1, kills + 1):
                while len(tally.stored) < number * instances // (kills + 1) and not sending.done():
                    progress.clear()
                    await asyncio.wait({sending, waiting := asyncio.ensure_future(progress.wait())},
                                       return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
                    waiting.cancel()
                for _ in range(dice.randint(0, 100)):  # somewhere in the middle of something
                    await asyncio.sleep(0)
                await peer.kill()
                tally.kills += 1
                _look(folder, tally)
                await peer.start()
            await sending
    finally:
        await peer.kill()
    _look(folder, tally)
    return tally


def _look(folder: Path, tally: Tally) -> None:
    found = {path.name.removesuffix(".dcm").partition(".")[2]: path for path in folder.glob("CT.*")}
    found |= {path.name.removesuffix(".dcm"): path for path in folder.glob("1.2.826.*")}
    tally.missing = [uid for uid, size in tally.stored.items() if not _is_there(found.get(uid), uid, size)]


def _is_there(path: Path | None, uid: str, size: int) -> bool:
    if path is None:
        return False
    with suppress(Exception):
        dataset = dcmread(path)
        return dataset.SOPInstanceUID == uid and dataset.PixelData == pattern(uid, size)
    return False


def main(words: Iterable[str]) -> int:
    """Run both; 1 where something is missing."""
    instances, kills = (*map(int, words), *(10_000, 10)[len(list(words)) :])
    worst = 0
    for command in (ours, storescp):
        with tempfile.TemporaryDirectory() as where:
            tally = asyncio.run(kill_while_sending(command, Path(where), instances, kills))
        print(f"{command.__name__}: {tally}")
        worst = max(worst, bool(tally.missing) or len(tally.stored) != instances)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
