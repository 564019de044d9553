"""Known answers: what DCMTK and Orthanc said to each other, through the codec and, cut in every way, the reader."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypotheses import examples
from hypothesis import given
from hypothesis import strategies as st

from aiodimse import pdu
from aiodimse.config import Limits
from aiodimse.errors import PDUDecodeError

NO_LIMITS = Limits(max_pdu_length=0, associate_pdu_length=1 << 40)


def read(reader: pdu.PDUReader, chunks: Iterable[bytes]) -> list[object]:
    """What the reader says, with pieces of one fragment joined and errors made comparable."""
    said: list[object] = []
    for chunk in chunks:
        reader.feed(chunk)
        while (item := reader.next()) is not None:
            last = said[-1] if said else None
            if isinstance(item, PDUDecodeError):
                said.append((item.field, item.offset, item.reason))
            elif isinstance(item, pdu.DataPiece):
                joins = isinstance(last, pdu.DataPiece) and not last.is_last
                if joins and (last.context_id, last.is_command) == (item.context_id, item.is_command):
                    last.data, last.is_last = bytes(last.data) + bytes(item.data), item.is_last
                else:
                    item.data = bytes(item.data)
                    said.append(item)
            else:
                said.append(item)
    return said


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(places), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(edges)]


def directions(captures: dict) -> list[bytes]:
    return [
        b"".join(data for side, data in capture if side == which) for capture in captures.values() for which in "<>"
    ]


def test_every_line_survives_decoding_and_encoding(captures):
    lines = [data for capture in captures.values() for _, data in capture]
    assert len(lines) == 329
    for data in lines:
        decoded = pdu.decode(data)
        assert pdu.encode(decoded) == data
        assert "\n" not in str(decoded)


def test_the_user_identity_is_read_and_not_shown(captures):
    rq = pdu.decode(captures["dcmtk-user-identity-1"][0][1])
    identity = rq.user_information.user_identity
    assert identity == pdu.UserIdentityRequest(2, True, b"alice", b"s3cret")
    assert "s3cret" not in repr(rq) + str(rq)
    assert "alice" not in repr(rq) + str(rq)


def test_what_a_request_says(captures):
    rq = pdu.decode(captures["dcmtk-get-1"][0][1])
    information = rq.user_information
    assert (rq.called_ae_title, rq.calling_ae_title) == ("ARCH", "GETSCU")
    assert (rq.application_context, rq.protocol_version, rq.unknown_items) == (pdu.APPLICATION_CONTEXT, 1, ())
    assert (information.maximum_length, information.implementation_version_name) == (16384, "OFFIS_DCMTK_367")
    assert information.implementation_class_uid == "1.2.276.0.7230010.3.0.3.6.7"
    ct = "1.2.840.10008.5.1.4.1.1.2"
    assert information.roles[ct] == pdu.RoleSelection(ct, scu=False, scp=True)
    assert (information.operations_window, information.extended, information.user_identity) == (None, {}, None)
    assert str(rq) == "A-ASSOCIATE-RQ 'GETSCU' -> 'ARCH', maximum length 16384, 121 contexts"


def test_refused_contexts_are_read(captures):
    ac = pdu.decode(captures["dcmtk-store-rejected-context-1"][1][1])
    assert [(each.context_id, each.result) for each in ac.results] == [(1, 4), (3, 0)]
    assert str(ac).endswith("1 of 2 contexts accepted")


def test_the_reader_agrees_with_the_codec(captures):
    for capture in captures.values():
        for _, data in capture:
            said = read(pdu.PDUReader(Limits()), [data])
            whole = pdu.decode(data)
            if isinstance(whole, pdu.PDataTF):
                pieces = [pdu.DataPiece(v.context_id, v.is_command, v.is_last, v.data) for v in whole.pdvs]
                assert said == [pdu.DataHeader(len(data) - 6), *pieces]
            else:
                assert said == [whole]


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 11, 12, 13, 4096])
def test_any_chunk_size_says_the_same(captures, size):
    for stream in directions(captures):
        whole = read(pdu.PDUReader(Limits()), [stream])
        chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
        assert read(pdu.PDUReader(Limits()), chunks) == whole


@examples(200)
@given(data=st.data())
def test_any_cuts_say_the_same(captures, data):
    stream = data.draw(st.sampled_from(directions(captures)))
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=40))
    assert read(pdu.PDUReader(Limits()), cut(stream, places)) == read(pdu.PDUReader(Limits()), [stream])


@examples(200)
@given(data=st.data())
def test_feeding_ahead_of_asking_says_the_same(captures, data):
    """Chunks that wait are read in their order, also when more come while one is half read."""
    stream = data.draw(st.sampled_from(directions(captures)))
    chunks = cut(stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=40)))
    asks = data.draw(st.lists(st.integers(0, 3), min_size=len(chunks), max_size=len(chunks)))
    reader, said = pdu.PDUReader(Limits()), []

    class Given:
        """Replays what was said in between."""

        def feed(self, _: bytes) -> None: ...

        def next(self) -> object:
            return said.pop(0) if said else None

    for chunk, times in zip(chunks, asks, strict=True):
        reader.feed(chunk)
        said += [item for item in (reader.next() for _ in range(times)) if item is not None]
    said += iter(reader.next, None)
    assert reader.buffered == 0
    assert not reader.in_pdu
    assert read(Given(), [b""]) == read(pdu.PDUReader(Limits()), [stream])


def mutate(draw: st.DrawFn, data: bytes) -> bytes:
    """A few bytes changed, put in or taken out, most near the start, where the lengths are; length often put right."""
    mutable = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(mutable)) | st.integers(0, min(200, len(mutable))))
        size = draw(st.integers(0, 3))
        mutable[place : place + size] = draw(st.binary(max_size=4))
    if draw(st.booleans()):
        mutable[2:6] = max(len(mutable) - 6, 0).to_bytes(4, "big")
    return bytes(mutable)


@examples(1500)
@given(data=st.data())
def test_mutated_captures_give_a_pdu_or_the_documented_error(captures, data):
    original = data.draw(st.sampled_from([each for capture in captures.values() for _, each in capture[:6]]))
    mutated = mutate(data.draw, original)
    fault = None
    try:
        decoded: object = pdu.decode(mutated)
    except PDUDecodeError as error:
        fault = error
        decoded = (error.field, error.offset, error.reason)
    else:
        assert pdu.decode(pdu.encode(decoded)) == decoded  # what was read, padding aside, can be written
    assert fault is None or (fault.field and 0 <= fault.offset <= len(mutated) and fault.reason in (1, 6))
    places = data.draw(st.lists(st.integers(0, len(mutated)), max_size=20))
    said = read(pdu.PDUReader(NO_LIMITS), [mutated])
    assert read(pdu.PDUReader(NO_LIMITS), cut(mutated, places)) == said
    if len(mutated) >= 6 and len(mutated) == 6 + int.from_bytes(mutated[2:6], "big"):
        if isinstance(decoded, pdu.PDataTF):
            expected = b"".join(each.data for each in decoded.pdvs)
            assert b"".join(each.data for each in said if isinstance(each, pdu.DataPiece)) == expected
            assert isinstance(said[0], pdu.DataHeader)
        else:
            assert said[-1] == decoded
