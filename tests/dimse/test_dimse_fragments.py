from __future__ import annotations

import array
import itertools
import struct
from pathlib import Path

import pytest
from dimse.dimse_cases import CAPTURES, messages_of, pdvs
from hypothesis import given
from hypothesis import strategies as st

from aiodimse.config import Limits
from aiodimse.dimse import command
from aiodimse.dimse.fragments import Buffer, Command, Fragmenter, Joiner
from aiodimse.dimse.messages import CEchoRQ, CFindRQ, CStoreRQ
from aiodimse.errors import CommandDecodeError, LocalProtocolError, RemoteProtocolError
from aiodimse.pdu.reader import DataPiece

ECHO = CEchoRQ(message_id=1, affected_sop_class_uid="1.2.840.10008.1.1")
FIND = CFindRQ(message_id=2, affected_sop_class_uid="1.2.840.10008.5.1.4.1.2.2.1", has_data_set=True)
ECHO_BYTES, FIND_BYTES = command.encode(ECHO), command.encode(FIND)


def cmd(data: bytes, last: bool = True, context_id: int = 1) -> DataPiece:
    return DataPiece(context_id, True, last, data)


def dat(data: bytes, last: bool = True, context_id: int = 1) -> DataPiece:
    return DataPiece(context_id, False, last, data)


def join(pieces: list[DataPiece], limits: Limits | None = None) -> list[Command | DataPiece]:
    joiner = Joiner(limits or Limits())
    return [arrived for piece in pieces if (arrived := joiner.accept(piece)) is not None]


# --- joining ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "arrived"),
    [
        ([cmd(ECHO_BYTES)], [Command(1, ECHO)]),
        ([cmd(ECHO_BYTES[:9], False), cmd(ECHO_BYTES[9:])], [Command(1, ECHO)]),
        ([cmd(b"", False), cmd(ECHO_BYTES, False), cmd(b"")], [Command(1, ECHO)]),
        ([cmd(ECHO_BYTES), cmd(ECHO_BYTES, context_id=3)], [Command(1, ECHO), Command(3, ECHO)]),
        ([cmd(FIND_BYTES), dat(b"ab")], [Command(1, FIND), DataPiece(1, False, True, b"ab")]),
        (
            [cmd(FIND_BYTES), dat(b"a", False), dat(b"", False), dat(b"b", False), dat(b"")],
            [
                Command(1, FIND),
                DataPiece(1, False, False, b"a"),
                DataPiece(1, False, False, b"b"),
                DataPiece(1, False, True, b""),
            ],
        ),
        (
            [cmd(FIND_BYTES, context_id=3), dat(b"ab", context_id=3), cmd(ECHO_BYTES)],
            [Command(3, FIND), DataPiece(3, False, True, b"ab"), Command(1, ECHO)],
        ),
        ([cmd(FIND_BYTES)], [Command(1, FIND)]),
        ([cmd(ECHO_BYTES[:-1], False)], []),
    ],
    ids=[
        "whole",
        "in two",
        "empty fragments",
        "two messages",
        "with data",
        "data in pieces",
        "with data and then another",
        "its data to come",
        "not finished",
    ],
)
def test_join(pieces: list[DataPiece], arrived: list[Command | DataPiece]) -> None:
    assert join(pieces) == arrived


@pytest.mark.parametrize(
    ("pieces", "words", "reason"),
    [
        ([dat(b"ab")], "no command set has announced", 6),
        ([cmd(ECHO_BYTES), dat(b"ab")], "no command set has announced", 6),
        ([cmd(ECHO_BYTES[:9], False), dat(b"ab")], "no command set has announced", 6),
        ([cmd(b"", False), dat(b"ab")], "no command set has announced", 6),
        ([cmd(FIND_BYTES), dat(b"ab"), dat(b"ab")], "no command set has announced", 6),
        ([cmd(FIND_BYTES), cmd(ECHO_BYTES)], "where a data set is due", 6),
        ([cmd(FIND_BYTES), dat(b"ab", False), cmd(ECHO_BYTES)], "where a data set is due", 6),
        ([cmd(ECHO_BYTES[:9], False), cmd(ECHO_BYTES[9:], context_id=3)], "context 3 within a message in 1", 6),
        ([cmd(b"", False), cmd(ECHO_BYTES, context_id=3)], "context 3 within a message in 1", 6),
        ([cmd(FIND_BYTES), dat(b"ab", context_id=5)], "context 5 within a message in 1", 6),
        ([cmd(FIND_BYTES), dat(b"ab", False), dat(b"ab", context_id=5)], "context 5 within a message in 1", 6),
        ([cmd(FIND_BYTES), cmd(ECHO_BYTES, context_id=3)], "context 3 within a message in 1", 6),
    ],
)
def test_a_fragment_out_of_place(pieces: list[DataPiece], words: str, reason: int) -> None:
    joiner = Joiner(Limits())
    for piece in pieces[:-1]:
        joiner.accept(piece)
    with pytest.raises(RemoteProtocolError, match=words) as caught:
        joiner.accept(pieces[-1])
    assert caught.value.reason == reason


@pytest.mark.parametrize("pieces", [[cmd(b"")], [cmd(ECHO_BYTES[:9], False), cmd(ECHO_BYTES[9:-1])], [cmd(b"abc")]])
def test_an_undecodable_command_set(pieces: list[DataPiece]) -> None:
    with pytest.raises(CommandDecodeError):
        join(pieces)


def test_a_command_set_has_a_limit() -> None:
    limits = Limits(command_set=len(ECHO_BYTES))
    assert join([cmd(ECHO_BYTES)], limits) == join([cmd(ECHO_BYTES, False), cmd(b"")], limits) == [Command(1, ECHO)]
    unknown_element = struct.pack("<HHL", 0, 0x5110, 0)
    for pieces in ([cmd(ECHO_BYTES + unknown_element)], [cmd(ECHO_BYTES, False), cmd(unknown_element, False)]):
        with pytest.raises(CommandDecodeError, match="over"):
            join(pieces, limits)


def test_data_is_handed_on_as_it_came() -> None:
    view = memoryview(bytes(100))
    joiner = Joiner(Limits())
    joiner.accept(cmd(FIND_BYTES))
    data = joiner.accept(DataPiece(1, False, False, view))
    assert isinstance(data, DataPiece)
    assert data.data is view


@given(st.lists(st.builds(DataPiece, st.sampled_from([1, 3]), st.booleans(), st.booleans(), st.binary(max_size=9))))
def test_any_pieces_give_messages_or_a_remote_error(pieces: list[DataPiece]) -> None:
    with_command = [cmd(FIND_BYTES), *pieces]
    for each in (pieces, with_command):
        try:
            join(each)
        except RemoteProtocolError as error:
            fault = error
            assert fault.reason in (2, 6)


SOME_EMPTY = {
    "in the command set": [*[cmd(b"", False)] * 5, cmd(FIND_BYTES), dat(b"a")],
    "in the data set": [cmd(FIND_BYTES), *[dat(b"", False)] * 5, dat(b"a")],
    "in both": [*[cmd(b"", False)] * 2, cmd(FIND_BYTES), dat(b"a", False), *[dat(b"", False)] * 3, dat(b"")],
    "in an echo": [*[cmd(b"", False)] * 5, cmd(ECHO_BYTES)],
}


@pytest.mark.parametrize("where", SOME_EMPTY)
def test_empty_fragments_are_taken_up_to_a_number(where: str) -> None:
    """In each message anew; the last fragment of a command set or data set may be empty without being counted."""
    message, limits = SOME_EMPTY[where], Limits(empty_fragments=5)
    assert len(join(message * 3, limits)) == 3 * len(join(message))
    at = max(at for at, piece in enumerate(message) if not piece.data and not piece.is_last)
    with pytest.raises(RemoteProtocolError, match="more than 5 empty fragments") as caught:
        join([*message, *message[:at], message[at], message[at]], limits)
    assert caught.value.reason == 6


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_messages_of_the_captures(capture: Path) -> None:
    for direction in "<>":
        pieces = [DataPiece(c, bool(f & 1), bool(f & 2), data) for way, c, f, data in pdvs(capture) if way == direction]
        arrived = join(pieces)
        assert len(arrived) == len(pieces)
        announced = [each.message for each in arrived if isinstance(each, Command) and each.message.has_data_set]
        ended = [each for each in arrived if isinstance(each, DataPiece) and each.is_last]
        assert len(announced) - len(ended) in (0, 1)  # an A-ABORT or a cut may leave the last without its end


# --- cutting ----------------------------------------------------------------------------------------------------------


def fragments(buffers: list[Buffer], *, is_command: bool = False, context_id: int = 3) -> list[tuple[bytes, bool]]:
    """(data, is it the last) of each P-DATA-TF in the buffers, each with one PDV."""
    data, found, offset = b"".join(buffers), [], 0
    while offset < len(data):
        kind, pdu_length, pdv_length, context, control = struct.unpack_from(">BxLLBB", data, offset)
        assert (kind, context, control & 1) == (4, context_id, is_command)
        assert pdu_length == pdv_length + 4
        found.append((data[offset + 12 : offset + 6 + pdu_length], control == is_command | 2))
        offset += 6 + pdu_length
    assert offset == len(data)
    return found


def even(data: bytes) -> bytes:
    return data + bytes(len(data) % 2)


def cut(pieces: list[bytes], max_pdu_length: int) -> tuple[list[tuple[bytes, bool]], int]:
    fragmenter = Fragmenter(max_pdu_length, 3)
    buffers: list[Buffer] = []
    for piece in pieces:
        buffers += fragmenter.feed(piece)
    return fragments(buffers + fragmenter.finish()), fragmenter.fragment_length


@pytest.mark.parametrize(
    ("pieces", "max_pdu_length", "found"),
    [
        ([], 128, [(b"", True)]),
        ([b""], 128, [(b"", True)]),
        ([b"abcd"], 10, [(b"abcd", True)]),
        ([b"abcd"], 11, [(b"abcd", True)]),
        ([b"abcd", b""], 10, [(b"abcd", True)]),
        ([b"abcde"], 10, [(b"abcd", False), (b"e\0", True)]),
        ([b"abc", b"de"], 10, [(b"abcd", False), (b"e\0", True)]),
        ([b"a", b"b", b"c", b"d"], 9, [(b"ab", False), (b"cd", True)]),
        ([b"abcdefgh"], 10, [(b"abcd", False), (b"efgh", True)]),
        ([b"ab", b"cdefghij"], 10, [(b"abcd", False), (b"efgh", False), (b"ij", True)]),
    ],
)
def test_data_is_cut_to_the_maximum_length(
    pieces: list[bytes], max_pdu_length: int, found: list[tuple[bytes, bool]]
) -> None:
    assert cut(pieces, max_pdu_length)[0] == found


sizes = st.lists(st.integers(0, 40) | st.integers(1000, 5000), max_size=12)
lengths = st.integers(8, 60) | st.integers(1000, 9000)


@given(sizes, lengths)
def test_fragments_are_the_data_even_full_and_flagged(sizes: list[int], max_pdu_length: int) -> None:
    numbers = itertools.cycle(range(251))
    pieces = [bytes(itertools.islice(numbers, size)) for size in sizes]
    found, fragment_length = cut(pieces, max_pdu_length)
    assert b"".join(data for data, _ in found) == even(b"".join(pieces))
    assert [is_last for _, is_last in found] == [False] * (len(found) - 1) + [True]
    assert {len(data) for data, _ in found[:-1]} <= {fragment_length}
    assert fragment_length % 2 == 0
    assert max_pdu_length - 7 <= fragment_length <= max_pdu_length - 6
    assert found[-1][0] or not any(sizes)


@given(st.binary(min_size=1, max_size=500), lengths)
def test_a_command_set_in_fragments(data: bytes, max_pdu_length: int) -> None:
    fragmenter = Fragmenter(max_pdu_length, 3)
    found = fragments(fragmenter.command(data), is_command=True)
    assert b"".join(part for part, _ in found) == data
    assert [is_last for _, is_last in found] == [False] * (len(found) - 1) + [True]
    assert all(len(part) == fragmenter.fragment_length for part, _ in found[:-1])


@given(messages_of(CStoreRQ), st.lists(st.binary(max_size=50), max_size=8), st.integers(8, 200))
def test_joining_undoes_cutting(message: CStoreRQ, pieces: list[bytes], max_pdu_length: int) -> None:
    fragmenter, joiner = Fragmenter(max_pdu_length, 3), Joiner(Limits())
    for _ in range(2):  # both are ready for the next message
        found = [(True, each) for each in fragments(fragmenter.command(command.encode(message)), is_command=True)]
        if message.has_data_set:
            buffers = [buffer for piece in pieces for buffer in fragmenter.feed(piece)] + fragmenter.finish()
            found += [(False, each) for each in fragments(buffers)]
        arrived = [joiner.accept(DataPiece(3, is_command, last, data)) for is_command, (data, last) in found]
        commands = [each for each in arrived if isinstance(each, Command)]
        data = [each for each in arrived if isinstance(each, DataPiece)]
        assert commands == [Command(3, message)]
        assert b"".join(each.data for each in data) == (even(b"".join(pieces)) if message.has_data_set else b"")
        assert [each.is_last for each in data][-1:] == [True] * message.has_data_set


def test_large_payloads_are_not_copied() -> None:
    payload = bytes(1 << 20)
    fragmenter = Fragmenter(16390, 3)
    buffers = fragmenter.feed(payload[:5000]) + fragmenter.feed(payload) + fragmenter.finish()
    views = [buffer for buffer in buffers if len(buffer) > 12]
    assert len(views) > 64
    assert {view.obj is payload for view in views[1:] if isinstance(view, memoryview)} == {True}
    assert sum(len(buffer) for buffer in buffers if len(buffer) == 12) == 12 * len(fragments(buffers))


def test_many_small_pieces_are_held_in_one_buffer() -> None:
    fragmenter = Fragmenter(10006, 3)
    assert not [buffer for _ in range(10000) for buffer in fragmenter.feed(b"x")]
    buffers = fragmenter.finish()
    assert [len(buffer) for buffer in buffers] == [12, 10000]


def test_what_went_out_does_not_change() -> None:
    fragmenter = Fragmenter(10, 3)
    fragmenter.feed(b"ab")
    first = fragmenter.feed(b"cde")
    before = b"".join(first)
    fragmenter.feed(b"fgh")
    fragmenter.finish()
    assert b"".join(first) == before


def test_a_view_of_other_items_counts_in_bytes() -> None:
    numbers = array.array("H", range(10))
    fragmenter = Fragmenter(14, 3)
    found = fragments(fragmenter.feed(memoryview(numbers)) + fragmenter.finish())
    assert b"".join(data for data, _ in found) == numbers.tobytes()
    assert [len(data) for data, _ in found] == [8, 8, 4]


@pytest.mark.parametrize("max_pdu_length", [-1, 0, 6, 7])
def test_no_room_for_a_fragment(max_pdu_length: int) -> None:
    with pytest.raises(LocalProtocolError):
        Fragmenter(max_pdu_length, 3)
