"""A reference for what an archive may have after operations that ran at the same time, in plain Python.

Each operation on one SOP Instance UID is a step from one state to others. An archive is right if there is an order of
the operations in which each store has the status that it was answered with, and which ends in the state that is found.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from archive.conftest import make_object
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from aiodimse import sop_class
from aiodimse.datasets import encode_dataset, file_meta

MR, CT, PROTOCOL = sop_class.MRImageStorage, sop_class.CTImageStorage, sop_class.HangingProtocolStorage


@dataclass(frozen=True)
class Sent:
    """A data set that is stored under a SOP Instance UID."""

    uid: str
    name: str
    sop_class_uid: str
    study: str | None
    """None: nobody can tell which instance it is."""
    is_whole: bool
    data: bytes = field(repr=False)

    @property
    def identity(self) -> tuple[str, str] | None:
        return None if self.study is None else (self.sop_class_uid, self.study)

    def meta(self) -> bytes:
        return file_meta(self.sop_class_uid, self.uid, ExplicitVRLittleEndian)

    async def part10(self) -> AsyncIterator[bytes]:
        yield self.meta()
        yield self.data


def all_for(study: str, image: str) -> list[Sent]:
    """What may be sent for one UID: the same instance in several data sets, some cut off, and other instances."""
    uid = f"1.2.{study}.1.{image}"

    def sent(name: str, sop_class_uid: str = MR, of: str = study, cut: int = 0, size: int = 400) -> Sent:
        dataset = make_object(study=of, image=image, StudyDescription=name, BitsAllocated=8, PixelData=bytes(size))
        dataset.SOPInstanceUID, dataset.SOPClassUID = uid, sop_class_uid
        data = encode_dataset(dataset, ExplicitVRLittleEndian)
        return Sent(uid, name, sop_class_uid, of, not cut, data[: len(data) - cut])

    unknown, protocol = Dataset(), Dataset()
    unknown.SOPClassUID, unknown.SOPInstanceUID = MR, uid
    protocol.SOPClassUID, protocol.SOPInstanceUID, protocol.HangingProtocolName = PROTOCOL, uid, "CT"
    return [
        sent("first"),
        sent("second"),
        sent("first, cut off", cut=100),
        sent("second, cut off", cut=200),
        sent("large", size=1_300_000),  # its save takes more than one trip to a thread
        sent("another study", of="9"),
        sent("another class", sop_class_uid=CT),
        Sent(uid, "no UIDs", MR, None, True, encode_dataset(unknown, ExplicitVRLittleEndian)),
        Sent(uid, "a hanging protocol", PROTOCOL, "", True, encode_dataset(protocol, ExplicitVRLittleEndian)),
    ]


class State(NamedTuple):
    """What there is of one SOP Instance UID."""

    file: Sent | None
    """The content of the file that the archive names after it."""
    is_indexed: bool


class Store(NamedTuple):
    """A C-STORE."""

    sent: Sent
    status: int | None
    """None: it was cancelled before it was answered."""


class Scan(NamedTuple):
    """A scan, which looks at the file once or twice."""


class Sweep(NamedTuple):
    """A sweep of `Retention`, which may remove the study, and another one to which the UID belongs then."""


class Removal(NamedTuple):
    """Somebody removes the file."""


Operation: TypeAlias = Store | Scan | Sweep | Removal


def stored(state: State, sent: Sent, *, replaces: bool) -> tuple[int, State]:
    """What a C-STORE is answered with, and what it leaves."""
    there = state.file
    status, new = 0x0000, State(sent, True)
    if sent.identity is None:
        status, new = 0xB007, State(sent, state.is_indexed)
    if there is None or (replaces and there.identity == sent.identity is not None and sent.is_whole):
        return status, new
    if sent.identity is None:
        return (status, state) if there == sent else (0xA900, state)
    if there.identity != sent.identity or replaces:
        return 0xA900, state
    return 0x0000, State(there, True) if there.is_whole or not sent.is_whole else new


def after(state: State, operation: Operation, *, replaces: bool) -> set[State]:
    """The states that an operation may lead to."""
    if isinstance(operation, Removal):
        return {State(None, state.is_indexed)}
    if isinstance(operation, Sweep):
        return {state, State(None, False), State(state.file, False)} if state.is_indexed else {state}
    if isinstance(operation, Scan):
        return {state, State(state.file, state.file is not None and state.file.identity is not None)}
    status, new = stored(state, operation.sent, replaces=replaces)
    if operation.status is None:
        return {state, new, State(new.file, state.is_indexed)}
    return {new} if operation.status == status else set()


def possible(before: State, operations: Sequence[Operation], *, replaces: bool) -> set[State]:
    """The states in which operations that ran at the same time may end, in any order."""
    ends, seen = set[State](), set[tuple[State, frozenset[int]]]()
    waiting = [(before, frozenset(range(len(operations))))]
    while waiting:
        state, left = each = waiting.pop()
        if each in seen:
            continue
        seen.add(each)
        if not left:
            ends.add(state)
        for number in left:
            waiting += [(new, left - {number}) for new in after(state, operations[number], replaces=replaces)]
    return ends
