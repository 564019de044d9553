"""multipart/related out and in, JSON arrays, and the answers of STOW-RS."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aiodimse
from aiodimse import dicomweb, sop_class, testing

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
CT, MR = FILES / "CT_small.dcm", FILES / "MR_small.dcm"
TYPE = 'multipart/related; type="application/dicom"; boundary=xyz'


class Source:
    """An iterator over pieces that knows whether it was closed."""

    def __init__(self, *pieces: Any) -> None:
        self._pieces = iter(pieces)
        self.is_closed = False

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> Any:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.is_closed = True


async def all_of(source: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in source])


def body_of(*parts: bytes) -> bytes:
    return (
        b"".join(b"\r\n--xyz\r\nContent-Type: application/dicom\r\n\r\n" + part for part in parts) + b"\r\n--xyz--\r\n"
    )


async def pieces_of(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


# --- out --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "limit", "found", "asked"),
    [(0, 9, "abcde", 5), (1, 2, "bc", 3), (0, 0, "", 1), (5, 2, "", 5), (4, 1, "e", 5), (2, 0, "", 2)],
)
async def test_a_page_asks_for_no_more_than_it_has(offset: int, limit: int, found: str, asked: int) -> None:
    taken: list[str] = []

    async def matches() -> AsyncIterator[str]:
        try:
            for each in "abcde":
                taken.append(each)
                yield each
        finally:
            taken.append("closed")

    assert "".join([each async for each in dicomweb.page(matches(), offset, limit)]) == found
    assert (len(taken) - 1, taken[-1]) == (asked, "closed")


async def test_a_page_that_is_left_closes_the_matches() -> None:
    source = Source("a", "b")
    async with aclosing(dicomweb.page(source, 0, 2)) as found:
        assert await anext(found) == "a"
    assert source.is_closed


async def test_whole_instances_are_part_10_files_and_come_back() -> None:
    instances = Source(*[await aiodimse.Instance.open(path) for path in (CT, MR)])
    content_type, pieces = dicomweb.multipart("application/dicom", dicomweb.whole_instances(instances))
    body = await all_of(pieces)
    assert instances.is_closed
    assert content_type.startswith('multipart/related; type="application/dicom"; boundary=')
    found = []
    async for part in dicomweb.parts(pieces_of(body, 10_000), content_type):
        dataset = await (await aiodimse.Instance.from_part10(part)).dataset()
        found.append(dataset.Modality)
    assert found == ["CT", "MR"]
    assert b"Content-Type: application/dicom; transfer-syntax=1.2.840.10008.1.2.1\r\n" in body


async def test_what_an_instance_says_is_no_boundary() -> None:
    """Whoever has stored it may have seen the boundary of a response before."""
    before, _ = dicomweb.multipart("a/b", Source())
    written = f"\r\n--{before.partition('boundary=')[2]}\r\n\r\nanother part".encode()
    content_type, pieces = dicomweb.multipart("a/b", Source(("a/b", written), ("a/b", b"2")))
    found = [await all_of(part) async for part in dicomweb.parts(pieces, content_type)]
    assert found == [written, b"2"]


async def test_nothing_gives_no_body_at_all() -> None:
    assert await all_of(dicomweb.multipart("a/b", Source())[1]) == b""
    assert await all_of(dicomweb.json_array(Source())) == b""


async def test_a_json_array_has_its_elements() -> None:
    assert json.loads(await all_of(dicomweb.json_array(Source("1", '{"a": 2}')))) == [1, {"a": 2}]


async def test_a_multipart_body_that_is_left_early_closes_its_parts() -> None:
    part = Source(b"1", b"2")
    source = Source(("a/b", part))
    async with aclosing(dicomweb.multipart("a/b", source)[1]) as body:
        await anext(body)
        assert await anext(body) == b"1"
    assert source.is_closed
    assert part.is_closed


async def test_an_array_that_is_left_early_closes_its_source() -> None:
    source = Source("1", "2")
    async with aclosing(dicomweb.json_array(source)) as body:
        await anext(body)
    assert source.is_closed


@pytest.mark.parametrize("count", [0, 1, 2])
async def test_the_file_of_one_instance(count: int) -> None:
    instances = Source(*[await aiodimse.Instance.open(path) for path in (CT, MR)[:count]])
    body = await all_of(dicomweb.whole_file(instances))
    assert instances.is_closed
    assert not body if count == 0 else pydicom.dcmread(io.BytesIO(body)) == pydicom.dcmread(CT)


@pytest.mark.parametrize("taken", [0, 1, 3])
async def test_a_response_that_has_begun_closes_its_items(taken: int) -> None:
    """Also if it is closed before anything is taken of it, as when the client is gone by then."""
    is_closed = False

    async def items() -> AsyncGenerator[int, None]:
        nonlocal is_closed
        try:
            for number in range(3):
                yield number
        finally:
            is_closed = True

    source = items()  # kept, so that it is not closed because nobody has it
    first, all_items = await dicomweb.begun(source)
    found = [await anext(all_items) for _ in range(taken)]
    assert (first, found, is_closed) == (0, list(range(taken)), False)
    await all_items.aclose()
    assert is_closed


async def test_a_failure_before_the_first_item_is_raised() -> None:
    async def items(error: Exception | None) -> AsyncGenerator[int, None]:
        if error is not None:
            raise error
        for number in range(0):
            yield number

    with pytest.raises(ConnectionResetError):
        await dicomweb.begun(items(ConnectionResetError()))
    with pytest.raises(StopAsyncIteration):
        await dicomweb.begun(items(None))


# --- in ---------------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=300).filter(lambda part: b"--xyz" not in part), max_size=4), st.integers(1, 400))
async def test_parts_are_the_same_however_they_are_cut(written: list[bytes], size: int) -> None:
    found = [await all_of(part) async for part in dicomweb.parts(pieces_of(body_of(*written), size), TYPE)]
    assert found == written


async def test_what_is_not_read_of_a_part_is_dropped() -> None:
    found = []
    async for part in dicomweb.parts(pieces_of(body_of(b"a" * 5000, b"b" * 5000), 100), TYPE):
        async with aclosing(part):
            found.append((await anext(part))[:1])
    assert found == [b"a", b"b"]


async def test_a_body_that_ends_in_a_part_is_told_of_there() -> None:
    async for part in dicomweb.parts(pieces_of(body_of(b"a" * 500)[:200], 50), TYPE):
        with pytest.raises(EOFError):
            await all_of(part)


@pytest.mark.parametrize(
    "content_type", ["", "application/dicom", "multipart/related", "multipart/form-data; boundary=a"]
)
async def test_another_content_type_is_refused(content_type: str) -> None:
    with pytest.raises(ValueError, match="multipart/related"):
        await anext(dicomweb.parts(Source(b""), content_type))


async def test_a_body_that_is_no_multipart_is_refused() -> None:
    with pytest.raises(ValueError, match=r".+"):
        await anext(dicomweb.parts(Source(b"DICM" * 100), TYPE))


# --- STOW-RS ----------------------------------------------------------------------------------------------------------


async def stored(
    body: bytes, *, status: int = 0, study: str | None = None, size: int = 1000, most: int = 100
) -> tuple[int, Any, int]:
    """The HTTP status, the answer, and how many came."""
    server = aiodimse.Server()
    count = 0

    @server.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        nonlocal count
        await request.discard()
        count += 1
        return status

    async with testing.joined(server, contexts=[sop_class.CTImageStorage]) as association:
        answer = await dicomweb.store(
            pieces_of(body, size),
            TYPE,
            association.c_store,
            root="http://x/dicomweb",
            study_instance_uid=study,
            most=most,
        )
    return answer.status, pydicom.Dataset.from_json(answer.body), count


async def test_all_stored() -> None:
    status, answer, count = await stored(body_of(CT.read_bytes(), CT.read_bytes()))
    assert (status, count) == (200, 2)
    uid = pydicom.dcmread(CT).SOPInstanceUID
    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [uid, uid]
    assert answer.RetrieveURL == "http://x/dicomweb"
    assert "FailedSOPSequence" not in answer


async def test_what_is_bad_costs_only_itself() -> None:
    """No DICOM file, and an instance that the peer does not take, between two that it takes."""
    status, answer, count = await stored(body_of(CT.read_bytes(), b"no file", MR.read_bytes(), CT.read_bytes()))
    assert (status, count) == (202, 2)
    assert [item.FailureReason for item in answer.FailedSOPSequence] == [0xC000, 0x0122]
    assert len(answer.ReferencedSOPSequence) == 2


@pytest.mark.parametrize("part", [CT.read_bytes(), b""], ids=["an instance", "nothing"])
async def test_the_parts_of_a_body_have_a_bound(part: bytes) -> None:
    """The answer has an item for each: a body of empty parts would make it forty times as large as it is."""
    await stored(body_of(*[part] * 3), most=3)
    with pytest.raises(ValueError, match="more than 3 parts"):
        await stored(body_of(*[part] * 4), most=3)


@pytest.mark.parametrize(
    ("code", "keyword", "status"),
    [(0xC000, "FailureReason", 409), (0xA700, "FailureReason", 503), (0xB000, "WarningReason", 202)],
)
async def test_what_the_archive_says(code: int, keyword: str, status: int) -> None:
    found, answer, _ = await stored(body_of(CT.read_bytes()), status=code)
    (item,) = answer.ReferencedSOPSequence if status == 202 else answer.FailedSOPSequence
    assert (found, item[keyword].value) == (status, code)


async def test_an_instance_of_another_study_is_not_sent() -> None:
    status, answer, count = await stored(body_of(CT.read_bytes()), study="1.2.3")
    assert (status, count, answer.FailedSOPSequence[0].FailureReason) == (409, 0, 0xA900)
    status, answer, count = await stored(body_of(CT.read_bytes()), study=str(pydicom.dcmread(CT).StudyInstanceUID))
    assert (status, count) == (200, 1)
    assert answer.RetrieveURL.endswith(pydicom.dcmread(CT).StudyInstanceUID)


async def test_half_an_instance_is_not_stored() -> None:
    body = body_of(CT.read_bytes())[:20_000]
    status, answer, _ = await stored(body)
    assert (status, answer.FailedSOPSequence[0].FailureReason) == (400, 0x0110)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (aiodimse.AssociationTimeout("connect", "no answer"), 504),
        (aiodimse.AssociationClosed("closed"), 502),
        (ConnectionRefusedError(), 502),
    ],
)
async def test_an_archive_that_cannot_be_asked(error: Exception, status: int) -> None:
    async def store(instance: aiodimse.Instance) -> aiodimse.Response:
        await instance.discard()
        raise error

    body = body_of(CT.read_bytes(), CT.read_bytes())
    answer = await dicomweb.store(pieces_of(body, 1000), TYPE, store, root="http://x/dicomweb")
    failed = pydicom.Dataset.from_json(answer.body).FailedSOPSequence
    assert (answer.status, [item.FailureReason for item in failed]) == (status, [0x0110, 0x0110])


@pytest.mark.parametrize("error", [TimeoutError(), EOFError(), ConnectionResetError(), aiodimse.AiodimseError()])
@pytest.mark.parametrize("after", [0, 20_000])
async def test_an_error_of_the_body_is_raised(error: Exception, after: int) -> None:
    """It is not taken for one of the archive, and the end of the body not for the whole of it."""

    async def body() -> AsyncIterator[bytes]:
        yield body_of(CT.read_bytes())[:after]
        raise error

    async def store(instance: aiodimse.Instance) -> aiodimse.Response:
        await instance.discard()
        return aiodimse.Response(aiodimse.Status(0))

    with pytest.raises(type(error)):
        await dicomweb.store(body(), TYPE, store, root="http://x/dicomweb")


@pytest.mark.parametrize("content_type", ["application/dicom", 'multipart/related; type="image/png"; boundary=xyz'])
async def test_a_store_of_something_else_is_refused(content_type: str) -> None:
    with pytest.raises(dicomweb.UnsupportedMediaType):
        await dicomweb.store(Source(b""), content_type, None, root="http://x/dicomweb")  # type: ignore[arg-type]


async def test_nothing_is_logged_of_a_uid_that_is_none(caplog: pytest.LogCaptureFixture) -> None:
    async def store(instance: aiodimse.Instance) -> aiodimse.Response:
        await instance.discard()
        return aiodimse.Response(aiodimse.Status(0))

    part = CT.read_bytes().replace(b"1.3.6.1.4", b"1.03.6.14")
    answer = await dicomweb.store(pieces_of(body_of(part), 1000), TYPE, store, root="http://x/dicomweb")
    assert (answer.status, answer.body.count("1.03.6.14")) == (200, 1)
    assert not [record for record in caplog.records if record.name.startswith("pydicom")]
