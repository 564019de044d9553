"""Messages whose fragments, and peers whose turns, are drawn: what the tests of whole conversations are made of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from pydicom.dataset import Dataset
from tls.authority import Certificates
from tls.over import OverTLS

import aiodimse
from aiodimse import sop_class, testing, tls
from aiodimse.aio import turns as shares
from aiodimse.aio.network import Network
from aiodimse.datasets import encode_dataset
from aiodimse.dimse import command
from aiodimse.dimse.messages import Message
from aiodimse.pdu import PDV, PDataTF, encode

EXPLICIT = "1.2.840.10008.1.2.1"
ECHO, CT, MPPS = sop_class.Verification, sop_class.CTImageStorage, sop_class.ModalityPerformedProcedureStep
FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
STILL_PENDING = (0xFF00, 0xFF01)


def dataset(**values: Any) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def encoded(**values: Any) -> bytes:
    return encode_dataset(dataset(**values), EXPLICIT)


def image(uid: str, size: int) -> Dataset:
    made = dataset(SOPClassUID=CT, SOPInstanceUID=uid, PatientID="1")
    made.PixelData, made["PixelData"].VR = (uid.encode() * (size // len(uid) + 1))[: size & ~1], "OB"
    return made


class Drawn:
    """What is drawn in one conversation: sizes, cuts and turns."""

    def __init__(self, seed: int, certificates: Certificates | None = None) -> None:
        """With certificates, everything is said over TLS."""
        self.random = Random(seed)
        draw = self.random
        self.limits = aiodimse.Limits(
            max_pdu_length=draw.choice([256, 1024, 1 << 18]), waiting_requests=draw.choice([0, 1, 4])
        )
        few, little = (7, 300) if certificates is None else (70, 3000)  # TLS takes long in small pieces
        splits: list[Callable[[int], int] | None] = [None, lambda most: draw.randint(1, most), lambda _: few]
        self.network = testing.MemoryNetwork(in_flight=draw.choice([little, 2000, 1 << 18]), split=draw.choice(splits))
        self.environment = aiodimse.Environment(network=self.network)
        self.peers: Network = self.network
        """Where scripted peers connect and listen."""
        self.server_context = self.client_context = None
        if certificates is not None:
            self.peers = OverTLS(self.network, certificates)
            self.server_context = tls.server_context(**certificates.pair("server"), verify_client=False)
            self.client_context = tls.client_context(certificates.ca)
        self._jumped = 0.0

    def begin(self) -> None:
        """Let the processor seem to be taken away now and then, in this event loop."""
        loop = asyncio.get_running_loop()
        shares._of_loops[loop] = shares.Turns(self._now)

    def _now(self) -> float:
        if self.random.random() < 0.05:
            self._jumped += 0.003
        return self._jumped

    async def turns(self) -> None:
        """Let others have some turns of the event loop, or none."""
        for _ in range(self.random.choice([0, 0, 0, 1, 1, 2, 5])):
            await asyncio.sleep(0)

    def message(self, context_id: int, message: Message, data: bytes | None = None) -> bytes:
        """Cut a message into fragments, and these into PDUs."""
        message.has_data_set = data is not None
        pdvs = self._fragments(context_id, command.encode(message), is_command=True)
        if data is not None:
            pdvs += self._fragments(context_id, data, is_command=False)
        pdus = b""
        while pdvs:
            number = self.random.choice([1, 1, 1, 2, 3])
            pdus += encode(PDataTF(tuple(pdvs[:number])))
            del pdvs[:number]
        return pdus

    def _fragments(self, context_id: int, data: bytes, *, is_command: bool) -> list[PDV]:
        most = self.limits.max_pdu_length // 3 - 12  # three of them go into a PDU
        parts = []
        while len(data) > most or (data and self.random.random() < 0.3):
            size = self.random.randint(1, most) if self.random.random() < 0.2 else min(most, len(data))
            parts.append(data[:size])
            data = data[size:]
        parts.append(data)  # perhaps empty
        last = len(parts) - 1
        return [PDV(context_id, is_command, number == last, part) for number, part in enumerate(parts)]

    def cut(self, data: bytes) -> list[bytes]:
        """Cut what is written at a time, or not."""
        if len(data) < 2 or self.random.random() < 0.6:
            return [data]
        at = self.random.randint(1, len(data) - 1)
        return [data[:at], data[at:]]


def finish(peer: testing.ScriptedPeer) -> None:
    """Let a peer say no more. TLS of asyncio cannot close one direction alone."""
    assert peer.transport is not None
    if peer.transport.can_write_eof():
        peer.finish()
    else:
        peer.transport.close()


class _Errors(logging.Handler):
    """What the library logs as errors."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def no_errors_logged() -> Iterator[None]:
    """Check that the library logs no error in the body."""
    errors, log = _Errors(), logging.getLogger("aiodimse")
    log.addHandler(errors)
    try:
        yield
    finally:
        log.removeHandler(errors)
    assert errors.lines == []


async def nothing_left(network: testing.MemoryNetwork) -> None:
    """Check that no connection is open and no other task there, after what has ended has been cleaned up."""
    async with asyncio.timeout(10):
        while network.open or len(asyncio.all_tasks()) > 1:
            await testing.settle()
