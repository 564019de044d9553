"""The reader by itself: limits on the header, what it copies, what it holds, what it costs."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodimse import pdu
from aiodimse.config import Limits
from aiodimse.errors import PDUDecodeError

RELEASE = pdu.encode(pdu.ReleaseRQ())


def data_pdu(*pdvs: pdu.PDV) -> bytes:
    return pdu.encode(pdu.PDataTF(pdvs))


def fed(*chunks: bytes, limits: Limits | None = None) -> pdu.PDUReader:
    reader = pdu.PDUReader(limits or Limits())
    for chunk in chunks:
        reader.feed(chunk)
    return reader


def drain(reader: pdu.PDUReader) -> list[object]:
    return list(iter(reader.next, None))


LIMITS = Limits(max_pdu_length=1000, associate_pdu_length=2000)

# six bytes are enough, and no more are waited for
HEADERS = {
    "unknown type": ("08 00 00000000", "PDU-type", 0, 1),
    "type 0": ("00 00 00000000", "PDU-type", 0, 1),
    "an HTTP request": ("47 45 54202f20", "PDU-type", 0, 1),
    "a TLS hello": ("16 03 01020001", "PDU-type", 0, 1),
    "one byte of a foreign protocol": ("16", "PDU-type", 0, 1),
    "associate request too long": ("01 00 000007d1", "PDU-length", 2, 6),
    "associate answer too long": ("02 00 ffffffff", "PDU-length", 2, 6),
    "reject of 3": ("03 00 00000003", "PDU-length", 2, 6),
    "P-DATA too long": ("04 00 000003e9", "PDU-length", 2, 6),
    "P-DATA without a PDV": ("04 00 00000000", "PDU-length", 2, 6),
    "P-DATA too short for a PDV": ("04 00 00000005", "PDU-length", 2, 6),
    "release too long": ("05 00 00000005", "PDU-length", 2, 6),
    "release response of 0": ("06 00 00000000", "PDU-length", 2, 6),
    "abort of 2 GiB": ("07 00 7fffffff", "PDU-length", 2, 6),
}


@pytest.mark.parametrize(("data", "field", "offset", "reason"), HEADERS.values(), ids=HEADERS.keys())
@pytest.mark.parametrize("by_byte", [False, True])
def test_a_bad_header_is_seen_at_once_and_is_the_end(data, field, offset, reason, by_byte):
    raw = bytes.fromhex(data)
    reader = fed(*([raw[at : at + 1] for at in range(len(raw))] if by_byte else [raw]), limits=LIMITS)
    error = reader.next()
    assert isinstance(error, PDUDecodeError)
    assert (error.field, error.offset, error.reason) == (field, offset, reason)
    reader.feed(RELEASE)
    assert reader.next() is None
    assert (reader.in_pdu, reader.buffered) == (False, 0)


@pytest.mark.parametrize("header", ["01 00 000007d0", "02 00 000007d0", "04 00 000003e8", "05 00 00000004"])
def test_a_length_at_the_limit_is_taken(header):
    reader = fed(bytes.fromhex(header), limits=LIMITS)
    assert drain(reader) in ([], [pdu.DataHeader(1000)])
    assert reader.in_pdu


def test_the_limit_on_data_can_be_lifted_and_moved():
    reader = fed(b"\4\0\xff\xff\xff\xff", limits=Limits(max_pdu_length=0))
    assert reader.next() == pdu.DataHeader(0xFFFFFFFF)
    reader = fed(data_pdu(pdu.PDV(1, False, True, bytes(100))))
    reader.max_pdu_length = 105
    assert isinstance(reader.next(), PDUDecodeError)


def test_a_bad_item_is_found_when_the_pdu_is_whole():
    raw = bytearray(pdu.encode(pdu.AssociateRQ("A", "B", (), pdu.UserInformation())))
    raw[77] += 1
    reader = fed(bytes(raw[:-1]))
    assert reader.next() is None
    reader.feed(bytes(raw[-1:]) + RELEASE)
    error = reader.next()
    assert isinstance(error, PDUDecodeError)
    assert error.offset > 74
    assert reader.next() is None


# --- pieces -----------------------------------------------------------------------------------------------------------


def test_pieces_come_before_the_pdu_is_whole():
    raw = data_pdu(pdu.PDV(1, True, True, b"command"), pdu.PDV(3, False, True, b"0123456789"))
    reader = fed(raw[:6])
    assert drain(reader) == [pdu.DataHeader(len(raw) - 6)]
    reader.feed(raw[6:15])
    assert drain(reader) == [pdu.DataPiece(1, True, False, b"com")]
    reader.feed(raw[15:28])
    assert drain(reader) == [pdu.DataPiece(1, True, True, b"mand"), pdu.DataPiece(3, False, False, b"012")]
    reader.feed(raw[28:])
    assert drain(reader) == [pdu.DataPiece(3, False, True, b"3456789")]
    assert not reader.in_pdu


CONVERSATION = [
    data_pdu(pdu.PDV(1, True, True, b"command")),
    data_pdu(pdu.PDV(3, False, False, b"ab" * 20)),
    data_pdu(pdu.PDV(1, True, True, b"command"), pdu.PDV(1, False, True, b"data")),
    data_pdu(pdu.PDV(1, False, True, b"")),
    data_pdu(pdu.PDV(1, False, False, b"")),
    data_pdu(pdu.PDV(1, False, True, bytes(995))),
    data_pdu(pdu.PDV(1, False, True, bytes(994))),
    bytes.fromhex("04 00 00000008 00000003 01 00 6162"),
    bytes.fromhex("04 00 00000008 00000005 01 00 6162"),
    bytes.fromhex("04 00 00000006 00000001 01 00"),
    bytes.fromhex("01 00 0000000a 00000006 01 03 61626364"),  # of another type
    RELEASE,
]
SPLIT = [  # what comes in the second chunk looks like a whole PDU
    (data_pdu(pdu.PDV(1, False, True, b"abcd" + CONVERSATION[0])), 16),
    (b"\4" + CONVERSATION[0], 1),
    (data_pdu(pdu.PDV(1, False, True, b"ab"))[:6] + CONVERSATION[0], 6),
    (bytes.fromhex("01 00 000000ff") + CONVERSATION[0], 6),
    (data_pdu(pdu.PDV(1, False, True, bytes(995))), 0),
]


def without_headers(items):
    """As words: two errors are not equal."""
    return [repr(each) + getattr(each, "data", b"").hex() for each in items if type(each) is not pdu.DataHeader]


def assert_the_same(chunks):
    quick, slow = (pdu.PDUReader(LIMITS) for _ in range(2))
    for chunk in chunks:
        for reader in (quick, slow):
            reader.feed(chunk)
        items = list(iter(lambda: quick.next(whole=True), None))
        assert without_headers(items) == without_headers(drain(slow))
        for state in ("in_pdu", "buffered"):
            assert getattr(quick, state) == getattr(slow, state)


@given(st.lists(st.sampled_from(CONVERSATION), max_size=6), st.lists(st.integers(0, 200), max_size=8))
def test_a_whole_pdv_is_what_next_gives_without_its_header(pdus, cuts):
    data = b"".join(pdus)
    ends = [0, *sorted(cuts), len(data)]
    assert_the_same([data[start:end] for start, end in pairwise(ends)])


@pytest.mark.parametrize(("data", "cut"), SPLIT)
def test_a_whole_pdv_does_not_begin_within_a_pdu(data, cut):
    assert_the_same([data[:cut], data[cut:]])


def test_a_whole_pdv_has_no_header():
    reader = fed(CONVERSATION[0] + CONVERSATION[1])
    assert list(iter(lambda: reader.next(whole=True), None)) == [
        pdu.DataPiece(1, True, True, b"command"),
        pdu.DataPiece(3, False, False, b"ab" * 20),
    ]


def test_only_the_last_fragment_is_last():
    reader = fed(data_pdu(pdu.PDV(1, False, False, b"ab"), pdu.PDV(1, False, True, b"cd")))
    assert [piece.is_last for piece in drain(reader)[1:]] == [False, True]


def test_an_empty_pdv_is_told_as_any_other():
    """Its context and its place have to be looked at, and how many there are."""
    raw = data_pdu(pdu.PDV(1, False, False, b""), pdu.PDV(2, True, False, b""), pdu.PDV(3, False, True, b""))
    told = [pdu.DataPiece(1, False, False, b""), pdu.DataPiece(2, True, False, b""), pdu.DataPiece(3, False, True, b"")]
    assert drain(fed(raw)) == [pdu.DataHeader(18), *told]


def test_pieces_given_before_a_bad_pdv_stay_given():
    raw = bytes.fromhex("04 00 0000000e 00000004 01 00 6162 00000001 01 00")
    header, piece, error = drain(fed(raw))
    assert (header, piece) == (pdu.DataHeader(14), pdu.DataPiece(1, False, False, b"ab"))
    assert isinstance(error, PDUDecodeError)
    assert (error.field, error.offset) == ("Item-length", 14)


def test_a_pdu_that_cannot_hold_another_pdv_is_bad_before_its_end():
    raw = bytes.fromhex("04 00 0000000b 00000004 01 00 6162 000000")
    assert [type(each) for each in drain(fed(raw[:14]))] == [pdu.DataHeader, pdu.DataPiece, PDUDecodeError]


@pytest.mark.parametrize(("size", "other", "copied"), [(24, 64, True), (25, 63, False), (99, 0, False)])
def test_a_piece_under_a_quarter_of_its_chunk_is_a_copy(size, other, copied):
    """Chunk of 100 bytes and more: 12 of headers, the piece, and something behind it."""
    chunk = data_pdu(pdu.PDV(1, False, True, bytes(range(size)))) + bytes(other)
    reader = fed(chunk)
    assert isinstance(reader.next(), pdu.DataHeader)
    data = reader.next().data
    assert bytes(data) == bytes(range(size))
    if copied:
        assert type(data) is bytes
    else:
        assert type(data) is memoryview
        assert data.obj is chunk
        assert data.readonly


# --- what it holds ----------------------------------------------------------------------------------------------------


def test_in_pdu_from_the_first_byte_to_the_last():
    raw = RELEASE + data_pdu(pdu.PDV(1, False, True, b"abc")) + RELEASE
    ends = {0, 10, 10 + 15, 10 + 15 + 10}
    reader = fed()
    assert not reader.in_pdu
    for at in range(len(raw)):
        reader.feed(raw[at : at + 1])
        drain(reader)
        assert reader.in_pdu == (at + 1 not in ends), at


def test_buffered_is_what_was_fed_and_not_given():
    associate = pdu.encode(pdu.AssociateRQ("A", "B", (), pdu.UserInformation()))
    reader = fed()
    for at in range(len(associate) - 1):
        reader.feed(associate[at : at + 1])
        reader.next()
        assert reader.buffered == at + 1
    reader.feed(associate[-1:] + RELEASE)
    reader.feed(RELEASE)
    assert reader.buffered == len(associate) + 20
    assert isinstance(reader.next(), pdu.AssociateRQ)
    assert reader.buffered == 20
    assert drain(reader) == [pdu.ReleaseRQ()] * 2
    assert reader.buffered == 0


def test_a_spent_chunk_is_let_go():
    reader = fed(data_pdu(pdu.PDV(1, False, False, bytes(10000)))[:6000])
    drain(reader)
    assert reader._chunk == b""


def test_a_chunk_that_is_handed_on_whole_is_let_go():
    reader = fed(CONVERSATION[0] * 2, CONVERSATION[0][:3])
    assert reader.next(whole=True)
    assert reader.next(whole=True)
    assert reader.next(whole=True) is None
    assert reader.next() is None
    assert (reader._chunk, reader.buffered, reader.in_pdu) == (b"", 3, True)


def test_empty_chunks_and_chunks_that_wait_keep_their_order():
    reader = fed(RELEASE, b"", pdu.encode(pdu.Abort(0, 0)))
    assert reader.next() == pdu.ReleaseRQ()
    reader.feed(b"")
    reader.feed(pdu.encode(pdu.ReleaseRP()))
    assert drain(reader) == [pdu.Abort(0, 0), pdu.ReleaseRP()]


def byte_by_byte(size: int, *, ahead: bool) -> float:
    """Seconds of this process for an A-ASSOCIATE-RQ of size bytes, a byte at a time."""
    items = b"".join(b"\x99\0\xff\xff" + bytes(65535) for _ in range(size // 65539))
    items += b"\x99\0" + (size - 74 - len(items) - 4).to_bytes(2, "big") + bytes(size - 74 - len(items) - 4)
    raw = b"\1\0" + (size - 6).to_bytes(4, "big") + b"\0\1" + bytes(66) + items
    assert len(raw) == size
    reader, said, begun = pdu.PDUReader(Limits(associate_pdu_length=1 << 20)), None, time.process_time()
    for at in range(size):
        reader.feed(raw[at : at + 1])
        if not ahead:
            said = said or reader.next()
    said = said or reader.next()
    assert isinstance(said, pdu.AssociateRQ)
    return time.process_time() - begun


@pytest.mark.parametrize("ahead", [False, True], ids=["asked each time", "asked at the end"])
def test_a_mebibyte_byte_by_byte_is_linear(ahead):
    """Four times the bytes, four times the time; quadratic would be sixteen."""
    quarter = min(byte_by_byte(1 << 18, ahead=ahead) for _ in range(2))
    assert byte_by_byte(1 << 20, ahead=ahead) < 9 * quarter
