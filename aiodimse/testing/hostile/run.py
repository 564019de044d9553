"""Runs the cases against a live provider. Standard library only."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from aiodimse.testing.hostile import wire as w
from aiodimse.testing.hostile.case import ANSWERED, NOT_ASSOCIATED, OVER, Case, setup

AT_ONCE = 8
SILENT_AT_ONCE = 50
PATIENCE = 5.0
_ECHO_ID = 777
_LAST = ("abort", "reject", "released")
"""PDUs after which only the end of the connection may come."""


@dataclass
class Result:
    """The result of a case."""

    case: Case
    got: str
    seconds: float
    """From the last bytes sent to the end, or to the answer. For silence before an association it begins with the
    connection, as ARTIM does."""
    lenient: bool = False
    """Whether any end of the connection is accepted."""

    @property
    def ok(self) -> bool:
        """Whether the answer is as expected. A case that the provider does not support counts as expected.

        A Warning counts as success, since the stored data set is minimal, and an archive may warn about that. So does
        A900, since many cases store it, and an archive that cannot tell whether it is the same one may refuse the next.
        """
        ended = self.got.split(", ")[-1].startswith(("closed", "abort"))
        got = re.sub(r"\bstatus (B[0-9A-F]{3}|A900)\b", "status 0000", self.got)
        return got in (*self.case.expect.split(" or "), "not offered") or (self.lenient and ended)


@dataclass
class Report:
    """The results of all cases."""

    results: list[Result] = field(default_factory=list)
    good: list[float] = field(default_factory=list)
    """The seconds that association, C-ECHO and release took for the well-behaved peer."""
    good_failed: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything is as expected."""
        return all(result.ok for result in self.results) and not self.good_failed

    def lines(self) -> Iterable[str]:
        """Yield the table and a summary. Neighbors of a family with the same result share a line."""
        for _, group in itertools.groupby(self.results, _alike):
            yield _line(list(group))
        bad = sum(not result.ok for result in self.results)
        skipped = sum(result.got == "not offered" for result in self.results)
        yield f"{len(self.results)} cases, {bad} not as they must be, {skipped} not offered by this provider"
        slowest, failed = max(self.good, default=0.0) * 1000, len(self.good_failed)
        yield f"a good peer meanwhile: {len(self.good)} served, slowest {slowest:.1f} ms, {failed} failed"
        yield from self.good_failed[:5]


def _alike(result: Result) -> tuple[str, str, str]:
    return result.case.family or result.case.name, result.case.expect, result.got


def _line(results: list[Result]) -> str:
    first, last = results[0], results[-1]
    name = first.case.name if first is last else f"{first.case.name}-{last.case.at}"
    slowest = max(result.seconds for result in results) * 1000
    verdict = "ok  " if first.ok else "NOT "
    return f"{verdict} {name:<62.62} {first.case.expect:<32} {first.got:<32} {slowest:8.1f} ms"


class NoProvider(Exception):
    """There is no provider at this address. The text says why."""


class _NotBegun(Exception):
    """The state in which a case begins was not reached. The text says why."""


class _Peer:
    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience: float, began: float
    ) -> None:
        self.reader, self.writer, self.patience, self.began = reader, writer, patience, began
        self.accepted: set[int] = set()

    async def send(self, data: bytes, step: int = 0) -> None:
        try:
            for at in range(0, len(data), step or max(len(data), 1)):
                self.writer.write(data[at : at + step] if step else data)
                await self.writer.drain()
                for _ in range(2 if step else 0):  # so that a provider in this event loop reads them one by one
                    await asyncio.sleep(0)
        except ConnectionError:
            pass  # the answer is still read

    async def trickle(self, data: bytes, step: int, every: float) -> None:
        """Send some bytes at a time, again and again, until the connection ends."""
        pieces = itertools.cycle([data[at : at + step] for at in range(0, len(data), step)] if step else [data])
        while not self.writer.is_closing():
            self.writer.write(next(pieces))
            await asyncio.sleep(every)

    async def read(self) -> str:
        """Return the next PDU in words; "closed" at the end, "silent" after the time limit."""
        try:
            async with asyncio.timeout(self.patience):
                head = await self.reader.readexactly(6)
                body = await self.reader.readexactly(int.from_bytes(head[2:], "big"))
        except (asyncio.IncompleteReadError, ConnectionError):
            return "closed"
        except TimeoutError:
            return "silent"
        match head[0]:
            case 2:
                self._note_accepted(body)
                return "accepted"
            case 3:
                return f"reject {body[1]}/{body[2]}/{body[3]}"
            case 4:
                return _status(body)
            case 6:
                return "released"
            case 7:
                return f"abort {body[2]}/{body[3]}"
        return f"PDU {head[0]:02X}"

    def _note_accepted(self, body: bytes) -> None:
        at = 68
        while at + 4 <= len(body):
            kind, length = body[at], int.from_bytes(body[at + 2 : at + 4], "big")
            if kind == 0x21 and body[at + 6] == 0:
                self.accepted.add(body[at + 4])
            at += 4 + length

    async def echo(self) -> str:
        await self.send(w.p_data(w.pdv(1, w.request(0x0030, w.VERIFICATION, _ECHO_ID))))
        return await self.read()

    async def release(self) -> str:
        await self.send(w.RELEASE_RQ)
        return await self.read()


def _status(body: bytes) -> str:
    """Return the Status of a command set in a P-DATA-TF."""
    at = 6
    while at + 8 <= len(body):
        element, length = struct.unpack_from("<HI", body, at + 2)
        if element == 0x0900:
            return f"status {int.from_bytes(body[at + 8 : at + 10], 'little'):04X}"
        at += 8 + length
    return "P-DATA-TF without a status"


class Hostile:
    """Runs cases against a provider.

    Args:
        host: The host of the provider.
        port: Its port.
        called: Its AE title.
        waits: The longest deadline of the provider in seconds; None: cases of silence are left out.
        fin: Whether the provider must send FIN itself after its A-ABORT, A-ASSOCIATE-RJ or A-RELEASE-RP, and end
            silence as aiodimse does. PS3.8 allows it to wait for our FIN until ARTIM expires, and has no other
            deadline.
        silent_at_once: The number of silent connections at a time. A provider may have a limit.
        patience: Seconds after which an answer that has not come counts as "silent".
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        called: str = "ANY-SCP",
        waits: float | None = None,
        fin: bool = False,
        silent_at_once: int = SILENT_AT_ONCE,
        patience: float = PATIENCE,
    ) -> None:
        self.host: str = host
        self.port: int = port
        self.called: str = called
        self.waits: float | None = waits
        self.fin: bool = fin
        self.patience = patience
        self._places, self._silent = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(silent_at_once)

    async def check(self) -> None:
        """Make one well-behaved association. Raises NoProvider if there is no provider."""
        try:
            peer = await self._open()
        except (OSError, TimeoutError, ValueError) as error:  # ValueError: not a host name
            raise NoProvider(f"{self.host}:{self.port}: {error or 'no answer'}") from error
        try:
            await peer.send(self._addressed(w.associate_rq()))
            if (said := await peer.read()) != "accepted":
                hint = f"; --called {self.called}?" if said == "reject 1/1/7" else ""
                raise NoProvider(f"{self.host}:{self.port} answers an association with: {said}{hint}")
            await peer.release()
        finally:
            peer.writer.transport.abort()

    async def run(self, cases: Iterable[Case], progress: Callable[[], object] = lambda: None) -> Report:
        """Run cases, several at a time, while a well-behaved peer sends C-ECHOs. Call `progress` after each case."""
        report = Report()

        async def one(case: Case) -> Result:
            result = await self.case(case)
            progress()
            return result

        good = asyncio.create_task(self._good_peer(report))
        wanted = [case for case in cases if self.waits is not None or not case.waits]
        report.results = list(await asyncio.gather(*map(one, wanted)))
        good.cancel()
        await asyncio.wait({good})
        return report

    async def _open(self, longer: float = 0.0) -> _Peer:
        began = time.monotonic()
        async with asyncio.timeout(self.patience):
            reader, writer = await asyncio.open_connection(self.host, self.port)
        return _Peer(reader, writer, self.patience + longer, began)

    def _addressed(self, data: bytes) -> bytes:
        """Put the called AE title into whatever looks like an A-ASSOCIATE-RQ of ours."""
        blank = bytes((0, 0)) + b" " * 16 + b"HOSTILE".ljust(16)
        return data.replace(blank, bytes((0, 0)) + self.called.encode().ljust(16) + b"HOSTILE".ljust(16))

    async def _good_peer(self, report: Report) -> None:
        while True:
            began = time.monotonic()
            try:
                peer = await self._open()
                try:
                    await peer.send(self._addressed(w.associate_rq()))
                    said = [await peer.read(), await peer.echo(), await peer.release()]
                finally:
                    peer.writer.close()
                if said != ["accepted", "status 0000", "released"]:
                    report.good_failed.append(f"a good peer got {said}")
            except (OSError, TimeoutError) as error:
                report.good_failed.append(f"a good peer: {error!r}")
            report.good.append(time.monotonic() - began)
            await asyncio.sleep(0.02)

    async def case(self, case: Case) -> Result:
        """Run one case."""
        if not case.waits:
            async with self._places:
                return await self._case(case)
        async with self._silent:
            return await self._case(case, self._places)

    async def _case(self, case: Case, opening: contextlib.AbstractAsyncContextManager[None] | None = None) -> Result:
        """Run a case. `opening` is held until everything is sent."""
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with opening or contextlib.nullcontext():
                    peer = await self._open((self.waits or 0.0) if case.waits else 0.0)
                    stack.callback(peer.writer.transport.abort)
                    await self._begin(case, peer, stack)
            except (OSError, TimeoutError, _NotBegun) as error:
                return Result(case, str(error) or repr(error), 0.0)
            return await self._outcome(case, peer)

    async def _begin(self, case: Case, peer: _Peer, stack: contextlib.AsyncExitStack) -> None:
        """Reach the state of the case, and send its bytes."""
        if case.state not in NOT_ASSOCIATED:
            peer.began = time.monotonic()
            await peer.send(self._addressed(w.associate_rq()))
            if (said := await peer.read()) != "accepted":
                raise _NotBegun(f"in the beginning: {said}")
            if case.needs not in peer.accepted:
                raise _NotBegun("not offered")
        await peer.send(self._addressed(setup(case.state)))
        if case.state in ANSWERED:
            await peer.read()
        if case.send and not (case.waits and case.state == "connected"):
            peer.began = time.monotonic()
        if case.every:
            trickle = asyncio.create_task(peer.trickle(self._addressed(case.send), case.step, case.every))
            stack.callback(trickle.cancel)
            return
        await peer.send(self._addressed(case.send), case.step)
        if case.then == "fin" or (case.state in OVER and not self.fin):
            with contextlib.suppress(OSError):  # the other side may have closed first
                peer.writer.write_eof()
        elif case.then == "reset":
            sock = peer.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.writer.transport.abort()

    async def _outcome(self, case: Case, peer: _Peer) -> Result:
        said: list[str] = []
        seconds = await (self._served if case.goes_on else self._ended)(case, peer, said)
        return Result(case, ", ".join(said), seconds, lenient=case.waits and not self.fin)

    async def _served(self, case: Case, peer: _Peer, said: list[str]) -> float:
        """Collect the answers, and check that the association can still be used. Return the seconds until then."""
        expected = case.expect.split(", ")
        while len(said) < len([word for word in expected if word != "served"]):
            said.append(await peer.read())
            if said[-1] in ("closed", "silent") or said[-1].startswith("abort"):
                return time.monotonic() - peer.began
        seconds = time.monotonic() - peer.began
        alive = [await peer.echo(), await peer.release()]
        if alive != ["status 0000", "released"]:
            said.append(f"then {alive}")
        elif expected[-1] == "served":
            said.append("served")
        return seconds

    async def _ended(self, case: Case, peer: _Peer, said: list[str]) -> float:
        """Collect the answers until the end of the connection. Return the seconds until then."""
        while not said or said[-1] not in ("closed", "silent"):
            said.append(await peer.read())
            if not self.fin and said[-1].split()[0] in _LAST:
                break
        if len(said) > 1 and said[-1] == "closed" and said[-2].split()[0] in _LAST:
            said.pop()
        return time.monotonic() - peer.began
