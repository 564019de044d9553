"""Microseconds on the PDU floor: `python benchmarks/micro_pdu.py`. Best of five, one core, no network."""

from __future__ import annotations

import timeit
from collections.abc import Callable

from aiodimse import pdu
from aiodimse.config import Limits

REPEAT, TIMES = 5, 100_000


def microseconds(action: Callable[[], object], times: int = TIMES) -> float:
    return min(timeit.repeat(action, number=times, repeat=REPEAT)) / times * 1e6


def main() -> None:
    reader = pdu.PDUReader(Limits())
    echo = pdu.pdata_header(1, True, True, 76) + bytes(76)
    many = pdu.AssociateRQ(
        "PACS", "ME", tuple(pdu.ProposedContext(n, "1.2.3", ("1.2.840.10008.1.2",) * 3) for n in range(1, 256, 2)),
        pdu.UserInformation((pdu.MaximumLength(16384), pdu.ImplementationClassUID("1.2.3"))),
    )  # fmt: skip
    wire = pdu.encode(many)
    largest = Limits().associate_pdu_length
    flood = b"\1\0" + largest.to_bytes(4, "big") + b"\0\1" + bytes(66) + b"\x99\0\0\0" * ((largest - 68) // 4)

    def read_echo() -> None:
        reader.feed(echo)
        reader.next()  # DataHeader
        reader.next()  # DataPiece

    def read_echo_dry() -> None:
        read_echo()
        reader.next()  # None, as the engine's loop asks

    def read_flood() -> None:
        hostile = pdu.PDUReader(Limits())
        hostile.feed(flood)
        hostile.next()

    rows = [
        ("reader, echo-sized P-DATA-TF: feed, DataHeader, DataPiece", microseconds(read_echo)),
        ("the same and the None after it", microseconds(read_echo_dry)),
        ("pdata_header", microseconds(lambda: pdu.pdata_header(1, True, True, 76))),
        ("encode an A-ASSOCIATE-RQ of 128 contexts", microseconds(lambda: pdu.encode(many), 100)),
        ("decode it", microseconds(lambda: pdu.decode(wire), 100)),
        ("refuse a mebibyte of empty items", microseconds(read_flood, 5)),
    ]
    for name, figure in rows:
        print(f"{figure:10.2f} us  {name}")


if __name__ == "__main__":
    main()
