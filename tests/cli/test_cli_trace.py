"""--trace: the form of the captures, from any splitting of the bytes, without patient data and without secrets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import pytest
from cli.conftest import CT, Ended, Peer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aiodimse
from aiodimse import pdu
from aiodimse.association import propose
from aiodimse.cli.trace import TraceFile, without_data
from aiodimse.testing import read_capture, replay

CAPTURES = sorted((Path(__file__).parents[1] / "data" / "captures").glob("*.dul"))
Conversation = list[tuple[str, bytes]]


def record(path: Path, conversation: Conversation, *, data: bool = True) -> str:
    trace = TraceFile(path, data=data)
    tap = trace("requestor")
    for way, part in conversation:
        tap(way, part)
    for way in "><":
        tap(way, b"")
    trace.close()
    return path.read_text(encoding="ascii")


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_a_recorded_capture_is_the_capture(capture: Path, tmp_path: Path) -> None:
    record(tmp_path / "x.dul", read_capture(capture))
    assert read_capture(tmp_path / "x.dul") == read_capture(capture)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(cuts=st.lists(st.integers(0, 600), max_size=8))
def test_any_splitting_gives_the_same_lines(tmp_path: Path, cuts: list[int]) -> None:
    whole = read_capture(CAPTURES[1])
    parts: Conversation = []
    for way, data in whole:
        at = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
        parts += [(way, data[a:b]) for a, b in pairwise(at) if a < b]
    record(tmp_path / "x.dul", parts)
    assert read_capture(tmp_path / "x.dul") == whole


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_without_data_sets_what_is_left_decodes(capture: Path, tmp_path: Path) -> None:
    text = record(tmp_path / "x.dul", read_capture(capture), data=False)
    for (way, whole), (same_way, cut) in zip(read_capture(capture), read_capture(tmp_path / "x.dul"), strict=True):
        assert way == same_way
        decoded, original = pdu.decode(cut), pdu.decode(whole)
        assert type(decoded) is type(original)
        if isinstance(decoded, pdu.PDataTF):
            assert [(v.context_id, v.is_command, v.is_last) for v in decoded.pdvs] == [
                (v.context_id, v.is_command, v.is_last) for v in original.pdvs
            ]
            assert all(
                bytes(v.data) == bytes(o.data) if v.is_command else not v.data
                for v, o in zip(decoded.pdvs, original.pdvs, strict=True)
            )
    if b"CompressedSamples" in b"".join(data for _, data in read_capture(capture)):
        assert b"CompressedSamples".hex() not in text
        assert "bytes of data set left out of the next line" in text


def test_a_user_identity_is_not_written() -> None:
    (rq,) = [data for _, data in read_capture(next(p for p in CAPTURES if "user-identity" in p.stem))[:1]]
    identity = pdu.decode(rq).user_information.user_identity
    assert identity.primary in rq
    cut, what = without_data(rq)
    assert what == "the user identity"
    assert identity.primary not in cut
    assert len(cut) == len(rq)


def _with_identity(item: bytes) -> bytes:
    """An A-ASSOCIATE-RQ whose User Information ends in this sub-item."""
    rq = pdu.encode(propose(["1.2.840.10008.1.1"], ae_title="A", called_ae_title="B", limits=aiodimse.Limits()))
    at = rq.index(b"\x50\x00", 74 + 20)
    length = int.from_bytes(rq[at + 2 : at + 4], "big") + len(item)
    whole = rq[:at] + b"\x50\x00" + length.to_bytes(2, "big") + rq[at + 4 :] + item
    return whole[:2] + (len(whole) - 6).to_bytes(4, "big") + whole[6:]


def test_a_request_that_ends_before_its_items_stays_as_it_is() -> None:
    assert without_data(b"\1\0\0\0\0\3abc") == (b"\1\0\0\0\0\3abc", "")


SECRET = b"passcode"


@pytest.mark.parametrize(
    "item",
    [
        b"\x58\x00\x00\x10\x02\x00\x00\x02me\x00\x08" + SECRET,
        b"\x58\x00\x00\x10\x02\x00\x00\x02me\x00\x09" + SECRET,  # the length of the passcode is one too many
        b"\x58\x00\x00\x10\x02\x00\xff\xff\x00\x00\x00\x00" + SECRET,
        b"\x58\x00\x00\x11\x02\x00\x00\x02me\x00\x08" + SECRET,  # so is that of the item
        b"\x58\x00\x00\x0a\x01\x00" + SECRET,
        b"\x00\x00\x00\x08" + SECRET,  # nobody knows what this is
    ],
    ids=range(6),
)
def test_what_may_be_a_user_identity_is_not_written_either(item: bytes) -> None:
    whole = _with_identity(item)
    assert SECRET in whole
    cut, what = without_data(whole)
    assert SECRET not in cut
    assert what
    assert int.from_bytes(cut[2:6], "big") == len(cut) - 6
    assert cut[10:42] == whole[10:42]


def test_only_its_owner_may_read_a_trace(tmp_path: Path) -> None:
    trace = TraceFile(tmp_path / "x.dul", data=True)
    for _ in range(2):
        tap = trace("acceptor")
        for way in "><":
            tap(way, b"")
    trace.close()
    modes = [path.stat().st_mode & 0o777 for path in sorted(tmp_path.iterdir())]
    assert modes == [0o600, 0o600]


def test_what_is_no_pdu_is_counted(tmp_path: Path) -> None:
    text = record(tmp_path / "x.dul", [(">", b"GET / HTTP/1.1\r\n\r\n"), ("<", b"\7\0\0")], data=False)
    assert text == "# not a PDU: 18 bytes >\n# cut off: 3 bytes <\n"


def test_each_association_has_a_file(tmp_path: Path) -> None:
    trace = TraceFile(tmp_path / "x.dul")
    for count in (1, 2, 3):
        tap = trace("acceptor")
        tap(">", pdu.encode(pdu.Abort(0, count)))
        tap(">", b"")
        tap("<", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-2.dul", "x-3.dul", "x.dul"]
    assert read_capture(tmp_path / "x-3.dul") == [(">", pdu.encode(pdu.Abort(0, 3)))]


async def test_a_command_is_traced(command: Callable[..., Awaitable[Ended]], peer: Peer, tmp_path: Path) -> None:
    path = tmp_path / "store.dul"
    assert (await command("store", *peer.where, CT, "--trace", path)).code == 0
    kinds = [(way, type(pdu.decode(data)).__name__) for way, data in read_capture(path)]
    assert kinds == [
        (">", "AssociateRQ"), ("<", "AssociateAC"), (">", "PDataTF"), (">", "PDataTF"), ("<", "PDataTF"),
        (">", "ReleaseRQ"), ("<", "ReleaseRP"),
    ]  # fmt: skip
    assert CT.read_bytes()[-200:].hex() not in path.read_text()
    assert (await command("store", *peer.where, CT, "--trace", path, "--trace-data")).code == 0
    assert CT.read_bytes()[-200:].hex() in path.read_text()


@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_what_a_trace_is_can_be_replayed(capture: Path, tmp_path: Path, data: bool) -> None:
    """With lines that say what was left out, as without: docs/how-to/testing.md."""
    text = record(tmp_path / "x.dul", read_capture(capture), data=data)
    assert ("#" in text) is not (data or "echo" in capture.stem or "abort" in capture.stem)
    for side in (">", "<"):
        kinds = [type(event) for event in replay(tmp_path / "x.dul", side)]
        assert kinds == [type(event) for event in replay(capture, side)]
