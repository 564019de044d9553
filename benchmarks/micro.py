"""Microseconds of the floors below the network: `make bench-micro`, or `python -m benchmarks.micro PATTERN`.

Each figure is the best of five, on one core. A fast path is shown together with its slow counterpart or a peer.
"""

from __future__ import annotations

import asyncio
import io
import sys
import timeit
from collections.abc import Callable, Iterator
from functools import partial

from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from aiodimse import datasets, pdu
from aiodimse.aio.files import off_loop
from aiodimse.association import answer_request, propose
from aiodimse.association.answering import Offer
from aiodimse.config import Limits, Timeouts
from aiodimse.datasets.walk import walk
from aiodimse.dimse import CEchoRQ, CEchoRSP, CFindRSP, CStoreRQ, Fragmenter, Joiner, command
from aiodimse.dimse.operations import RequestReceived, ResponseReceived
from aiodimse.engine import Engine
from aiodimse.services.provider.registry import HandlerRegistry
from aiodimse.standard.sop_class import CTImageStorage, Verification
from benchmarks.peers import answers

REPEAT = 5
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
Case = tuple[str, Callable[[], object], int]


def microseconds(action: Callable[[], object], times: int) -> float:
    return min(timeit.repeat(action, number=times, repeat=REPEAT)) / times * 1e6


def reading() -> Iterator[Case]:
    """pdu/"""
    reader = pdu.PDUReader(Limits())
    echo = pdu.pdata_header(1, True, True, 76) + bytes(76)
    many = pdu.AssociateRQ(
        "PACS", "ME", tuple(pdu.ProposedContext(n, "1.2.3", (IMPLICIT,) * 3) for n in range(1, 256, 2)),
        pdu.UserInformation((pdu.MaximumLength(16384), pdu.ImplementationClassUID("1.2.3"))),
    )  # fmt: skip
    wire = pdu.encode(many)
    largest = Limits().associate_pdu_length
    flood = b"\1\0" + largest.to_bytes(4, "big") + b"\0\1" + bytes(66) + b"\x99\0\0\0" * ((largest - 68) // 4)

    def read_echo() -> None:
        reader.feed(echo)
        while reader.next() is not None:
            pass

    def read_flood() -> None:
        hostile = pdu.PDUReader(Limits())
        hostile.feed(flood)
        hostile.next()

    yield "reader: an echo-sized P-DATA-TF", read_echo, 100_000
    yield "pdata_header", lambda: pdu.pdata_header(1, True, True, 76), 100_000
    yield "encode an A-ASSOCIATE-RQ of 128 contexts", lambda: pdu.encode(many), 100
    yield "decode it", lambda: pdu.decode(wire), 100
    yield "refuse a mebibyte of empty items", read_flood, 5


def commands() -> Iterator[Case]:
    """dimse/"""
    uid = "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"
    messages = (
        CEchoRQ(message_id=7, affected_sop_class_uid=Verification),
        CEchoRSP(message_id_being_responded_to=7, affected_sop_class_uid=Verification, status=0),
        CStoreRQ(message_id=7, affected_sop_class_uid=CTImageStorage, affected_sop_instance_uid=uid, has_data_set=True),
        CFindRSP(
            message_id_being_responded_to=7, affected_sop_class_uid=Verification, status=0xFF00, has_data_set=True
        ),
    )
    for message in messages:
        data = command.encode(message)
        yield f"encode a {message.name}", partial(command.encode, message), 50_000
        yield f"decode a {message.name}", partial(command.decode, data), 50_000
    joiner, piece = Joiner(Limits()), pdu.DataPiece(1, True, True, command.encode(messages[0]))
    yield "join a C-ECHO-RQ", lambda: joiner.accept(piece), 50_000
    body = bytes(38_666)

    def fragments() -> None:
        fragmenter = Fragmenter(16384, 1)
        fragmenter.feed(body)
        fragmenter.finish()

    yield "cut a data set of 39 kB into 16 KiB PDUs", fragments, 20_000


def joined() -> tuple[Engine, Engine]:
    """Associate two engines without anything between them."""
    user = Engine("requestor", limits=Limits(), timeouts=Timeouts())
    provider = Engine("acceptor", limits=Limits(), timeouts=Timeouts())
    rq = propose([Verification, CTImageStorage], ae_title="ME", called_ae_title="PACS", limits=Limits())
    user.associate(rq, 0.0)
    user.transport_connected(0.0)
    provider.transport_connected(0.0)
    _carry(user, provider)
    provider.next_event()
    ac = answer_request(rq, _offer(), ae_title="PACS", limits=Limits())
    assert isinstance(ac, pdu.AssociateAC)
    provider.accept(ac, 0.0)
    _carry(provider, user)
    for engine in (user, provider):
        while engine.next_event() is not None:
            pass
    return user, provider


def _offer() -> Offer:
    """Return the offer of a server with a C-STORE handler."""
    handlers = HandlerRegistry()

    async def store(request: object) -> int:
        return 0x0000

    handlers.register("C-STORE", (), store)
    return handlers.offer()


def _carry(sender: Engine, receiver: Engine) -> None:
    for buffer in sender.data_to_send():
        receiver.receive_data(bytes(buffer), 0.0)


def engines() -> Iterator[Case]:
    """engine.py: both ends, without a loop and a socket."""
    user, provider = joined()
    assert user.negotiated is not None
    contexts = {context.abstract_syntax: context.context_id for context in user.negotiated.contexts.values()}
    body, long = bytes(9_000), bytes(256_000)

    def echo() -> None:
        request = CEchoRQ(message_id=0, affected_sop_class_uid=Verification)
        user.invoke(contexts[Verification], request)
        user.send(contexts[Verification], request)
        _carry(user, provider)
        event = provider.next_event()
        assert type(event) is RequestReceived
        assert provider.next_event() is None
        provider.respond(event.operation, event.operation.request.response(0x0000))
        _carry(provider, user)
        assert type(user.next_event()) is ResponseReceived
        assert user.next_event() is None

    def store(body: bytes) -> None:
        request = CStoreRQ(message_id=0, affected_sop_class_uid=CTImageStorage, affected_sop_instance_uid="1.2.3")
        user.invoke(contexts[CTImageStorage], request)
        user.send(contexts[CTImageStorage], request, body)
        _carry(user, provider)
        event = provider.next_event()
        assert type(event) is RequestReceived
        while provider.next_event() is not None:
            pass
        provider.respond(event.operation, event.operation.request.response(0x0000))
        _carry(provider, user)
        assert type(user.next_event()) is ResponseReceived
        assert user.next_event() is None

    yield "two engines: a C-ECHO there and back", echo, 5_000
    yield "two engines: a C-STORE of 9 kB there and back", lambda: store(body), 5_000
    yield "two engines: a C-STORE of 256 kB in 16 KiB PDUs there and back", lambda: store(long), 1_000


def data_sets() -> Iterator[Case]:
    """datasets/"""
    made = iter(answers.match(number) for number in range(10**9))
    found = answers.match(4711)
    encoded = datasets.encode_dataset(found, EXPLICIT)
    ct = dcmread(str(get_testdata_file("CT_small.dcm")))
    pixels = datasets.encode_dataset(ct, EXPLICIT)
    limits = Limits()

    def pydicom_writes() -> bytes:
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, False
        write_dataset(buffer, found)
        return buffer.getvalue()

    def pydicom_reads() -> object:
        return dcmread(io.BytesIO(encoded), force=True)

    yield "make a C-FIND match of 14 elements (pydicom's part)", lambda: next(made), 2_000
    yield "encode it", lambda: datasets.encode_dataset(found, EXPLICIT), 2_000
    yield "  pydicom's writer", pydicom_writes, 2_000
    yield "walk it", lambda: walk(encoded, EXPLICIT), 5_000
    yield "decode it, values raw", lambda: datasets.decode_dataset(encoded, EXPLICIT, limits=limits), 2_000
    yield "  pydicom's reader", pydicom_reads, 2_000
    yield (
        "check three of its values",
        (lambda: answers.is_right(datasets.decode_dataset(encoded, EXPLICIT, limits=limits), 4711)),
        2_000,
    )
    yield "walk a CT", lambda: walk(pixels, EXPLICIT), 1_000


def hops() -> Iterator[Case]:
    """aio/: a thousand trips to the pool for files, and a thousand to asyncio's own pool; divide by 1,000."""

    async def ours() -> None:
        for _ in range(1_000):
            await off_loop(_nothing)

    async def asyncios() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(1_000):
            await loop.run_in_executor(None, _nothing)

    yield "1,000 trips to our pool", lambda: asyncio.run(ours()), 1
    yield "1,000 trips to asyncio's pool", lambda: asyncio.run(asyncios()), 1


def _nothing() -> None:
    pass


def main() -> None:
    pattern = sys.argv[1] if len(sys.argv) > 1 else ""
    for floor in (reading, commands, engines, data_sets, hops):
        print(floor.__doc__)
        for name, action, times in floor():
            if pattern in name:
                print(f"{microseconds(action, times):10.2f} us  {name}", flush=True)


if __name__ == "__main__":
    main()
