"""Runs the cases against a live provider. Standard library only."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from aiodimse.testing.hostile import wire as w
from aiodimse.testing.hostile.cases import NOT_ASSOCIATED, OVER, Case, setup

AT_ONCE = 8
PATIENCE = 5.0
_ECHO_ID = 777
_LAST = ("abort", "reject", "released")
"""PDUs behind which nothing but the close may come."""


@dataclass
class Result:
    """What became of a case."""

    case: Case
    got: str
    seconds: float
    """From the last byte sent to the close, or to the answer."""

    @property
    def ok(self) -> bool:
        """As it must be; a case that the provider does not offer is."""
        return self.got in (self.case.expect, "not offered")

    def __str__(self) -> str:
        verdict = "ok  " if self.ok else "NOT "
        return f"{verdict} {self.case.name:<62.62} {self.case.expect:<32} {self.got:<32} {self.seconds * 1000:8.1f} ms"


@dataclass
class Report:
    """All of it."""

    results: list[Result] = field(default_factory=list)
    good: list[float] = field(default_factory=list)
    """Seconds that a good peer's association, echo and release took, meanwhile."""
    good_failed: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Everything is as it must be."""
        return all(result.ok for result in self.results) and not self.good_failed

    def lines(self) -> Iterable[str]:
        """The table and a summary."""
        for result in self.results:
            yield str(result)
        bad = sum(not result.ok for result in self.results)
        skipped = sum(result.got == "not offered" for result in self.results)
        yield f"{len(self.results)} cases, {bad} not as they must be, {skipped} not offered by this provider"
        slowest, failed = max(self.good, default=0.0) * 1000, len(self.good_failed)
        yield f"a good peer meanwhile: {len(self.good)} served, slowest {slowest:.1f} ms, {failed} failed"
        yield from self.good_failed[:5]


class _Peer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience: float) -> None:
        self.reader, self.writer, self.patience = reader, writer, patience
        self.accepted: set[int] = set()

    async def send(self, data: bytes, step: int = 0) -> None:
        try:
            for at in range(0, len(data), step or max(len(data), 1)):
                self.writer.write(data[at : at + step] if step else data)
                await self.writer.drain()
        except ConnectionError:
            pass  # what came of it is read

    async def read(self) -> str:
        """The next PDU in words; "closed" at the end, "silent" past the deadline."""
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
    """The Status of a command set in a P-DATA-TF."""
    at = 6
    while at + 8 <= len(body):
        element, length = struct.unpack_from("<HI", body, at + 2)
        if element == 0x0900:
            return f"status {int.from_bytes(body[at + 8 : at + 10], 'little'):04X}"
        at += 8 + length
    return "P-DATA-TF without a status"


class Hostile:
    """The runner.

    waits: how long the provider's deadlines may be, in seconds; None leaves out the cases of silence. fin: the provider
    is to send FIN itself behind its A-ABORT, A-ASSOCIATE-RJ or A-RELEASE-RP. PS3.8 lets it wait for ours until ARTIM.
    """

    def __init__(
        self, host: str, port: int, *, called: str = "ANY-SCP", waits: float | None = None, fin: bool = False
    ) -> None:
        self.host, self.port, self.called, self.waits, self.fin = host, port, called, waits, fin

    async def run(self, cases: Iterable[Case]) -> Report:
        """Run them, several at once, while a good peer echoes."""
        report = Report()
        places = asyncio.Semaphore(AT_ONCE)

        async def one(case: Case) -> Result:
            if case.waits:
                return await self.case(case)
            async with places:
                return await self.case(case)

        good = asyncio.create_task(self._good_peer(report))
        wanted = [case for case in cases if self.waits is not None or not case.waits]
        report.results = list(await asyncio.gather(*map(one, wanted)))
        good.cancel()
        await asyncio.wait({good})
        return report

    async def _open(self, patience: float = PATIENCE) -> _Peer:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(self.host, self.port)
        return _Peer(reader, writer, patience)

    def _addressed(self, data: bytes) -> bytes:
        """The called AE title goes into whatever looks like an A-ASSOCIATE-RQ of ours."""
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
        """Run one."""
        patience = (self.waits or 0.0) + PATIENCE if case.waits else PATIENCE
        try:
            peer = await self._open(patience)
        except (OSError, TimeoutError) as error:
            return Result(case, repr(error), 0.0)
        try:
            return await self._case(case, peer)
        finally:
            peer.writer.transport.abort()

    async def _case(self, case: Case, peer: _Peer) -> Result:
        if case.state not in NOT_ASSOCIATED:
            await peer.send(self._addressed(w.associate_rq()))
            if (said := await peer.read()) != "accepted":
                return Result(case, f"in the beginning: {said}", 0.0)
            if case.needs not in peer.accepted:
                return Result(case, "not offered", 0.0)
        await peer.send(self._addressed(setup(case.state)))
        if case.state in OVER:
            await peer.read()
        await peer.send(self._addressed(case.send), case.step)
        began = time.monotonic()
        if case.then == "fin" or (case.state in OVER and not self.fin):
            with contextlib.suppress(OSError):  # the other side was faster
                peer.writer.write_eof()
        elif case.then == "reset":
            sock = peer.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.writer.transport.abort()
        return await self._outcome(case, peer, began)

    async def _outcome(self, case: Case, peer: _Peer, began: float) -> Result:
        said: list[str] = []
        expected = case.expect.split(", ")
        if case.goes_on:
            while len(said) < len([word for word in expected if word != "served"]):
                said.append(await peer.read())
                if said[-1] in ("closed", "silent") or said[-1].startswith("abort"):
                    return Result(case, ", ".join(said), time.monotonic() - began)
            seconds = time.monotonic() - began
            alive = [await peer.echo(), await peer.release()]
            if alive != ["status 0000", "released"]:
                said.append(f"then {alive}")
            elif expected[-1] == "served":
                said.append("served")
            return Result(case, ", ".join(said), seconds)
        while not said or said[-1] not in ("closed", "silent"):
            said.append(await peer.read())
            if not self.fin and said[-1].split()[0] in _LAST:
                break
        if len(said) > 1 and said[-1] == "closed" and said[-2].split()[0] in _LAST:
            said.pop()
        return Result(case, ", ".join(said), time.monotonic() - began)
