"""Objects with content that a database may refuse, over an association: a bad one costs only itself.

Each comes together with a sound one, with which it may share a transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from struct import pack

import pytest
from archive.databases import open_index
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import Archive, provide
from aiodimse.archive.models import LEVEL_OF

HOST = "127.0.0.1"
MR, FIND = sop_class.MRImageStorage, sop_class.StudyRootQueryRetrieveInformationModelFind
EXPLICIT = "1.2.840.10008.1.2.1"
KEPT = sorted({tag for keyword in LEVEL_OF if (tag := tag_for_keyword(keyword))} - {0x00080016, 0x00080018})
LONG = (b"UN", b"OB", b"SQ", b"UT", b"UC")
VRS = (b"LO", b"PN", b"DA", b"TM", b"IS", b"DS", b"UI", b"CS", b"US", b"FD", b"SH", *LONG)
VALUES = (
    b"\xed\xa0\x80x", b"\xf4\x90\x80\x80", b"\xff\xfe", b"a\0b", b"\0\0", b"\x1b$B!!", b"\x7f\x1a",
    b"9" * 40, b"-" + b"9" * 30, b"18446744073709551616", b"9223372036854775808", b"1e999", b"nan", b"1_000",
    b"99999999", b"20240230", b"235960.9999999", b"1.2." + b"3" * 80, b"..", b"\\" * 50, b"=" * 9 + b"^" * 9,
    b"A" * 3000, "Ä".encode() * 2000, "💥王".encode(), b"%_*?[a]", b"'; DROP TABLE study; --", pack("<d", float("inf")),
)  # fmt: skip
CHARACTER_SETS = (b"ISO_IR 192", b"GB18030", b"\\ISO 2022 IR 87", b"ISO_IR 100", b"bogus", b"\0\0")
_numbers = count(1)


def encoded(elements: dict[int, tuple[bytes, bytes]]) -> bytes:
    data = b""
    for tag, (vr, value) in sorted(elements.items()):
        value += b"\0" * (len(value) % 2)
        length = pack("<2xL", len(value)) if vr in LONG else pack("<H", len(value))
        data += pack("<HH", tag >> 16, tag & 0xFFFF) + vr + length + value
    return data


class Raw(aiodimse.Instance):
    """What nobody has checked."""

    def __init__(self, uid: str, odd: dict[int, tuple[bytes, bytes]]) -> None:
        super().__init__(MR, uid, EXPLICIT)
        sound = {
            0x00080016: (b"UI", MR.encode()),
            0x00080018: (b"UI", uid.encode()),
            0x00100020: (b"LO", b"P"),
            0x0020000D: (b"UI", b"1.2.1"),
            0x0020000E: (b"UI", b"1.2.2"),
        }
        self._data = encoded({**sound, **odd})

    async def _stream(self) -> AsyncIterator[bytes]:
        yield self._data

    def stream(self) -> AsyncIterator[bytes]:
        return self._stream()


VALUE = st.one_of(
    st.sampled_from(VALUES),
    st.binary(max_size=40),
    st.tuples(st.sampled_from(VALUES), st.sampled_from(VALUES)).map(b"\\".join),
)
ODD = st.dictionaries(st.sampled_from(KEPT), st.tuples(st.sampled_from(VRS), VALUE), min_size=1, max_size=8)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(odd=st.lists(st.tuples(st.sampled_from(CHARACTER_SETS), ODD), min_size=1, max_size=6))
async def test_an_odd_object_costs_only_itself(
    kind: str, tmp_path: Path, odd: list[tuple[bytes, dict[int, tuple[bytes, bytes]]]]
) -> None:
    folder = tmp_path / str(next(_numbers))
    folder.mkdir()
    async with await Archive.open(folder, index=await open_index(kind, tmp_path)) as archive:
        server = aiodimse.Server(ae_title="ARCHIVE")
        provide(server, archive, durable=False)
        async with server.listen(HOST, 0) as listening:
            one, other = (
                aiodimse.connect(HOST, listening.port, called_ae_title="ARCHIVE", contexts=[MR, FIND]) for _ in "12"
            )
            async with one as sender, other as good:
                for number, (terms, elements) in enumerate(odd):
                    uids = f"1.5.{number}", f"1.6.{number}"
                    bad, sound = await asyncio.gather(
                        sender.c_store(Raw(uids[0], {0x00080005: (b"CS", terms), **elements})),
                        good.c_store(Raw(uids[1], {})),
                    )
                    assert sound.status == 0x0000
                    assert bad.status in (0x0000, 0xB007)
                    stored = [uids[1], *([uids[0]] if bad.status == 0x0000 else [])]
                    for uid in stored:
                        asked = aiodimse.identifier("IMAGE", SOPInstanceUID=uid, PatientID=None)
                        (match,) = await good.c_find(asked, FIND).collect()
                        assert match.SOPInstanceUID == uid
