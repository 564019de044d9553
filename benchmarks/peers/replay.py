"""Users that replay prepared requests: during the measurement they decode only the status of each answer.

Each caller is an association that sends its requests one after the other, as storescu does. One process runs all
callers on epoll, so that both processors are free for the provider.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

from aiodimse import datasets, identifier, pdu, sop_class
from aiodimse.dimse import CFindRQ, CStoreRQ, command
from benchmarks.peers import wire
from benchmarks.peers.commands import files_in, go, run_commands
from benchmarks.peers.ours_archive import header

READ, WRITE = select.EPOLLIN, select.EPOLLIN | select.EPOLLOUT
FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
EXPLICIT = "1.2.840.10008.1.2.1"
MOST = 16372
"""Bytes of data in a P-DATA-TF: as many as fit into the 16,384 that storescu proposes."""
PENDING = wire.SUCCESS[:-1] + b"\xff"
_MESSAGE_IDS = 65535


class Caller:
    """One association: the requests that it still has to send, and the answers that it has received."""

    def __init__(self, port: int, called: str, requests: Sequence[bytes], window: int) -> None:
        """Raise ConnectionError if there is no association. window: how many requests are sent at once; the next
        ones follow when all are answered."""
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.requests, self.window, self.asked = requests, window, 0
        self.kept = b""
        self.unanswered = self.successes = self.matches = 0
        self.socket.sendall(associate(called, window))
        head = self.socket.recv(6, socket.MSG_WAITALL)
        self.socket.recv(int.from_bytes(head[2:6], "big"), socket.MSG_WAITALL)
        if head[0] != 2:
            raise ConnectionError("the association was not accepted")
        self.socket.setblocking(False)
        self.left = memoryview(b"")

    def ask(self) -> bool:
        """Begin the next requests, as many as the window allows. Return False if there are none."""
        some = self.requests[self.asked : self.asked + self.window]
        self.asked += len(some)
        self.unanswered = len(some)
        self.left = memoryview(b"".join(some))
        return bool(some)

    def send(self) -> bool:
        """Send what the kernel takes. Return whether that was all."""
        with suppress(BlockingIOError):
            self.left = self.left[self.socket.send(self.left) :]
        return not self.left

    def hear_echoes(self, data: bytes) -> bool:
        """Count successes, which are the last element of each answer; one that is missing is missed in the end."""
        if (found := data.count(wire.SUCCESS)) < self.unanswered:
            self.kept = data
            return False
        self.kept, self.unanswered = b"", 0
        self.successes += found
        return True

    def hear(self) -> bool:
        """Read what has arrived. Return whether all requests in progress are answered."""
        data = self.kept + self.socket.recv(65536)
        if not data:
            raise ConnectionError("an association was closed")
        if self.window > 1:
            return self.hear_echoes(data)
        while len(data) >= 6 and len(data) >= (size := 6 + int.from_bytes(data[2:6], "big")):
            if data[0] != 4:
                raise ConnectionError(f"a PDU of type {data[0]}")
            if data[11] & 1:  # a command
                one = data[:size]
                if wire.SUCCESS in one:
                    self.unanswered -= 1
                    self.successes += 1
                elif PENDING in one:
                    self.matches += 1
                else:
                    raise ConnectionError("a request was answered with a failure")
            data = data[size:]
        self.kept = data
        return not self.unanswered


def run(callers: Sequence[Caller], within: float) -> None:
    """Run until every request is answered."""
    epoll = select.epoll()
    by_number = {caller.socket.fileno(): caller for caller in callers}
    deadline = time.monotonic() + within

    def go_on(number: int, caller: Caller) -> None:
        if not caller.send():
            epoll.modify(number, WRITE)

    for number, caller in by_number.items():
        epoll.register(number, READ)
        if caller.ask():
            go_on(number, caller)
    busy = sum(1 for caller in callers if caller.requests)
    while busy:
        events = epoll.poll(max(0.0, deadline - time.monotonic()))
        if not events:
            raise TimeoutError(f"{busy} associations wait for an answer")
        for number, what in events:
            caller = by_number[number]
            if what & select.EPOLLOUT and caller.send():
                epoll.modify(number, READ)
            if what & ~select.EPOLLOUT and caller.hear():
                if caller.ask():
                    go_on(number, caller)
                else:
                    busy -= 1


def release(callers: Sequence[Caller]) -> None:
    """End the associations."""
    for caller in callers:
        caller.socket.setblocking(True)
        caller.socket.sendall(wire.RELEASE_RQ)
        caller.socket.recv(64)
        caller.socket.close()


def message(context: int, command_set: bytes, data: bytes = b"") -> bytes:
    """Make a DIMSE message in P-DATA-TF PDUs."""
    pieces = [pdu.pdata_header(context, True, True, len(command_set)), command_set]
    for start in range(0, len(data), MOST):
        piece = data[start : start + MOST]
        pieces += (pdu.pdata_header(context, False, start + MOST >= len(data), len(piece)), piece)
    return b"".join(pieces)


def echoes(count: int) -> Iterator[bytes]:
    """Make C-ECHO requests."""
    for number in range(count):
        yield wire.echo_rq(number % _MESSAGE_IDS + 1)


def finds(count: int, study: str) -> Iterator[bytes]:
    """Make C-FIND requests for some attributes of one study."""
    asked = identifier(
        "STUDY", StudyInstanceUID=study, StudyDate=None, StudyDescription=None, PatientName=None, PatientID=None
    )
    data = datasets.encode_dataset(asked, wire.IMPLICIT)
    for number in range(count):
        request = CFindRQ(message_id=number % _MESSAGE_IDS + 1, affected_sop_class_uid=FIND, has_data_set=True)
        yield message(3, command.encode(request), data)


def stores(paths: Sequence[Path]) -> Iterator[bytes]:
    """Make C-STORE requests for files in Explicit VR Little Endian."""
    for number, path in enumerate(paths):
        dataset = dcmread(path)
        request = CStoreRQ(
            message_id=number % _MESSAGE_IDS + 1,
            affected_sop_class_uid=str(dataset.SOPClassUID),
            affected_sop_instance_uid=str(dataset.SOPInstanceUID),
            has_data_set=True,
        )
        yield message(5, command.encode(request), datasets.encode_dataset(dataset, EXPLICIT))


def associate(called: str, window: int) -> bytes:
    """Make an A-ASSOCIATE-RQ for Verification, C-FIND and CT Image Storage."""
    items = (*wire.INFORMATION.sub_items, *([pdu.OperationsWindow(window, 1)] if window > 1 else []))
    contexts = (
        pdu.ProposedContext(1, str(sop_class.Verification), (wire.IMPLICIT,)),
        pdu.ProposedContext(3, str(FIND), (wire.IMPLICIT,)),
        pdu.ProposedContext(5, str(sop_class.CTImageStorage), (EXPLICIT,)),
    )
    return pdu.encode(pdu.AssociateRQ(called, "REPLAY", contexts, pdu.UserInformation(items)))


async def replay(
    port: int,
    called: str,
    what: str,
    count: int,
    callers: int,
    window: int = 1,
    files: str = "",
    study: str = "",
    within: float = 120.0,
) -> dict[str, Any]:
    """Send requests of one kind over several associations; time them from the first request to the last answer."""
    made = list(
        {"echo": lambda: echoes(count), "find": lambda: finds(count, study)}.get(
            what, lambda: stores(files_in(Path(files))[:count])
        )()
    )
    those = [Caller(port, called, made[number::callers], window) for number in range(callers)]
    before, started = os.times(), time.perf_counter()
    run(those, within)
    seconds, after = time.perf_counter() - started, os.times()
    release(those)
    return {
        "seconds": seconds,
        "done": sum(caller.successes for caller in those),
        "matches": sum(caller.matches for caller in those),
        "cpu": after.user + after.system - before.user - before.system,
    }


def small(number: int) -> bytes:
    """Make a C-STORE request for an object with the attributes of `header`, without pixels."""
    entry = Dataset()
    for attributes in header(number).levels.values():
        for keyword, values in attributes.items():
            setattr(entry, keyword, values[0])
    request = CStoreRQ(
        message_id=number % _MESSAGE_IDS + 1,
        affected_sop_class_uid=str(entry.SOPClassUID),
        affected_sop_instance_uid=str(entry.SOPInstanceUID),
        has_data_set=True,
    )
    return message(5, command.encode(request), datasets.encode_dataset(entry, EXPLICIT))


async def fill(port: int, called: str, count: int, callers: int, at_once: int = 10_000) -> dict[str, Any]:
    """Store small objects of `ours_archive.header` over several associations."""
    started, done = time.perf_counter(), 0
    for start in range(0, count, at_once):
        made = [small(number) for number in range(start, min(start + at_once, count))]
        those = [Caller(port, called, made[number::callers], 1) for number in range(callers)]
        run(those, 600.0)
        done += sum(caller.successes for caller in those)
        release(those)
    return {"seconds": time.perf_counter() - started, "done": done}


async def main() -> None:
    await run_commands({"replay": replay, "fill": fill})


if __name__ == "__main__":
    go(main)
