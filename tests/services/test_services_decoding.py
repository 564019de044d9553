"""Data sets of many elements: what each service answers, what our user gets, and where they are decoded."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest

import aiodimse
from aiodimse import DatasetTooLarge, EncodedDataset, Limits, sop_class, testing
from aiodimse.aio.turns import Turns
from aiodimse.datasets.dataset import deflate
from aiodimse.services import decoding
from aiodimse.standard.transfer_syntax import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
COMMITMENT = sop_class.StorageCommitmentPushModel
CT = sop_class.CTImageStorage
MOST = 300  # not so many that they fit no small Limits.identifier


def implicit(tag: int, value: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def explicit(tag: int, vr: bytes, value: bytes = b"", length: int | None = None) -> bytes:
    length = len(value) if length is None else length
    if vr in (b"SQ", b"UN", b"OB"):
        return struct.pack("<HH2s2xL", tag >> 16, tag & 0xFFFF, vr, length) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, length) + value


ITEM, END_ITEM, END_SEQUENCE, OPEN, REFERENCED = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0xFFFFFFFF, 0x00081199


def plain(count: int) -> bytes:
    return b"".join(implicit(0x00100010 + number) for number in range(count))


def private(count: int) -> bytes:
    return b"".join(implicit(0x00091000 + number) for number in range(count))


def same(count: int) -> bytes:
    return implicit(0x00100010) * count


def items(count: int) -> bytes:
    return implicit(REFERENCED, implicit(ITEM) * (count - 1))


def nested(count: int) -> bytes:
    assert count % 3 == 0
    return implicit(REFERENCED, implicit(ITEM, implicit(0x00081150))) * (count // 3)


def open_items(count: int) -> bytes:
    item = implicit(ITEM, implicit(END_ITEM), OPEN)
    return implicit(REFERENCED, item * (count - 1) + implicit(END_SEQUENCE), OPEN)


def explicit_plain(count: int) -> bytes:
    return b"".join(explicit(0x00100010 + number, b"LO") for number in range(count))


def unknown(count: int) -> bytes:
    return b"".join(explicit(0x00091000 + number, b"UN") for number in range(count))


def unknown_sequence(count: int) -> bytes:
    """PS3.5 6.2.2: what is inside is Implicit VR."""
    return explicit(0x00091001, b"UN", implicit(ITEM) * (count - 1) + implicit(END_SEQUENCE), OPEN)


def fragments(count: int) -> bytes:
    return explicit(0x7FE00010, b"OB", implicit(ITEM) * (count - 1) + implicit(END_SEQUENCE), OPEN)


def deflated(count: int) -> bytes:
    return deflate(explicit_plain(count))


SHAPES: dict[Callable[[int], bytes], str] = {
    **dict.fromkeys((plain, private, same, items, nested, open_items), ImplicitVRLittleEndian),
    **dict.fromkeys((explicit_plain, unknown, unknown_sequence, fragments), ExplicitVRLittleEndian),
    deflated: DeflatedExplicitVRLittleEndian,
}
shapes = pytest.mark.parametrize(("shape", "uid"), SHAPES.items(), ids=[shape.__name__ for shape in SHAPES])


def make_server(**more: Any) -> tuple[aiodimse.Server, list[Any]]:
    """A server that notes the data sets of the requests that its handlers see."""
    server, seen = aiodimse.Server(**more), []

    @server.on_c_find(FIND)
    async def find(request: Any) -> AsyncIterator[Any]:
        seen.append(request.identifier)
        return
        yield

    @server.on_c_get(GET)
    async def get(request: Any) -> AsyncIterator[Any]:
        seen.append(request.identifier)
        yield 0

    @server.on_c_move(MOVE)
    async def move(request: Any) -> AsyncIterator[Any]:
        seen.append(request.identifier)
        yield "127.0.0.1", 1
        yield 0

    @server.on_n_action(COMMITMENT)
    async def action(request: Any) -> int:
        seen.append(request.dataset)
        return 0x0000

    @server.on_c_store(CT)
    async def store(request: Any) -> int:
        seen.append(await request.dataset())
        return 0x0000

    return server, seen


async def ask(association: Any, service: str, data: EncodedDataset) -> Any:
    match service:
        case "C-FIND":
            return await association.c_find(data, FIND)
        case "C-GET":
            return await association.c_get(data, GET)
        case "C-MOVE":
            return await association.c_move(data, MOVE, destination="DEST")
    return await association.n_action(COMMITMENT, "1.2.840.10008.1.20.1.1", 1, data)


def contexts(uid: str) -> list[Any]:
    return [aiodimse.PresentationContext(name, [uid]) for name in (FIND, GET, MOVE, COMMITMENT)]


STATUSES = {"C-FIND": 0xA700, "C-GET": 0xA701, "C-MOVE": 0xA701, "N-ACTION": 0x0213}


@shapes
@pytest.mark.parametrize("service", STATUSES)
async def test_a_request_of_too_many_elements_is_answered_as_one_of_too_many_bytes(
    service: str, shape: Callable[[int], bytes], uid: str
) -> None:
    server, seen = make_server(limits=Limits(identifier_elements=MOST))
    async with testing.joined(server, contexts=contexts(uid)) as association:
        response = await ask(association, service, EncodedDataset(shape(MOST), uid))
        assert response.status == 0x0000
        assert len(seen) == 1
        response = await ask(association, service, EncodedDataset(shape(MOST + 3), uid))
        assert (response.status, len(seen)) == (STATUSES[service], 1)
        assert response.error_comment.startswith(f"more than {MOST} elements")
        assert (await ask(association, service, EncodedDataset(shape(MOST), uid))).status == 0x0000


@pytest.mark.parametrize("service", STATUSES)
async def test_a_deflated_request_is_bounded_by_what_it_becomes(service: str) -> None:
    server, seen = make_server(limits=Limits(identifier=10_000))
    uid = DeflatedExplicitVRLittleEndian
    async with testing.joined(server, contexts=contexts(uid)) as association:
        for size, status in ((9_900, 0x0000), (10_002, STATUSES[service])):
            data = deflate(explicit(0x00091001, b"UN", bytes(size)))
            assert len(data) < 100
            response = await ask(association, service, EncodedDataset(data, uid))
            assert response.status == status
        assert response.error_comment == "the deflated data set is larger than 10000 bytes"
        assert len(seen) == 1


async def test_the_default_takes_a_full_identifier_of_instances_to_be_committed() -> None:
    instance = explicit(0x00081150, b"UI", b"1.2.840.10008.5.1.4.1.1.2\0") + explicit(0x00081155, b"UI", b"1" * 56)
    count = Limits().identifier // (len(instance) + 8) - 1
    assert count > 9_500
    server, seen = make_server()
    async with testing.joined(server, contexts=contexts(ExplicitVRLittleEndian)) as association:
        data = explicit(REFERENCED, b"SQ", implicit(ITEM, instance) * count)
        assert (await ask(association, "N-ACTION", EncodedDataset(data, ExplicitVRLittleEndian))).status == 0x0000
    assert len(seen[0].ReferencedSOPSequence) == count


@shapes
async def test_a_provider_that_sends_us_too_many_elements(shape: Callable[[int], bytes], uid: str) -> None:
    server = aiodimse.Server()
    count = MOST

    @server.on_c_find(FIND)
    async def find(request: Any) -> AsyncIterator[Any]:
        yield EncodedDataset(shape(count), uid)

    @server.on_n_action(COMMITMENT)
    async def action(request: Any) -> Any:
        return 0x0000, EncodedDataset(shape(count), uid)

    limits = Limits(identifier_elements=MOST)
    key = EncodedDataset(shape(3), uid)
    async with testing.joined(server, contexts=contexts(uid), limits=limits) as association:
        assert len(await association.c_find(key, FIND).collect()) == 1
        assert (await ask(association, "N-ACTION", key)).dataset is not None
        count = MOST + 3
        matches = association.c_find(key, FIND)
        assert await matches.collect() == []
        assert [undecodable.data for undecodable in matches.undecodable] == [shape(count)]
        with pytest.raises(DatasetTooLarge, match=f"more than {MOST} elements"):
            await ask(association, "N-ACTION", key)
        count = MOST
        assert len(await association.c_find(key, FIND).collect()) == 1


@shapes
async def test_an_object_of_too_many_elements_does_not_decode(shape: Callable[[int], bytes], uid: str) -> None:
    class Made(aiodimse.Instance):
        def __init__(self, count: int) -> None:
            super().__init__(CT, "1.2.3", uid)
            self.count = count

        async def stream(self) -> AsyncIterator[bytes]:
            yield shape(self.count)

    server, seen = make_server(limits=Limits(dataset_elements=MOST))
    offer = [aiodimse.PresentationContext(CT, [uid])]
    async with testing.joined(server, contexts=offer) as association:
        assert (await association.c_store(Made(MOST))).status == 0x0000
        assert (await association.c_store(Made(MOST + 3))).status == 0xC210
        assert len(seen) == 1


@pytest.mark.parametrize("service", ["C-FIND", "C-STORE"])
@pytest.mark.parametrize(("count", "on_loop"), [(decoding._MANY, [True]), (decoding._MANY + 1, [True, False])])
async def test_many_elements_are_decoded_off_the_event_loop(
    service: str, count: int, on_loop: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try, on the loop, is given up when it has counted so many; the second is in the pool."""
    loop_thread, tries = threading.current_thread(), []

    def noted(decode: Any) -> Any:
        def work(*args: Any, max_elements: int | None = None, **more: Any) -> Any:
            here = threading.current_thread() is loop_thread
            assert max_elements == (decoding._MANY if here else None)
            tries.append(here)
            return decode(*args, max_elements=max_elements, **more)

        return work

    for name in ("decode_dataset", "decode_identifier"):
        monkeypatch.setattr(decoding.datasets, name, noted(getattr(decoding.datasets, name)))
    server, datasets = make_server()
    data = plain(count)

    class Made(aiodimse.Instance):
        async def stream(self) -> AsyncIterator[bytes]:
            yield data

    offer = [aiodimse.PresentationContext(name, [ImplicitVRLittleEndian]) for name in (FIND, CT)]
    async with testing.joined(server, contexts=offer) as association:
        if service == "C-FIND":
            response = await association.c_find(EncodedDataset(data, ImplicitVRLittleEndian), FIND)
        else:
            response = await association.c_store(Made(CT, "1.2.3", ImplicitVRLittleEndian))
    assert (response.status, tries) == (0x0000, on_loop)
    assert len(datasets[0]) == count


async def test_a_large_data_set_waits_for_at_most_one_of_each_other_association(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It does not wait behind all the requests of another one, and threads do not compete for the interpreter."""
    go, begun, decode = threading.Event(), threading.Semaphore(0), decoding.datasets.decode_identifier
    under_way = most = 0
    decoded: list[int] = []
    few, many = decoding._MANY + 1, decoding._MANY + 2

    def slow(*args: Any, max_elements: int | None = None, **more: Any) -> Any:
        nonlocal under_way, most
        if max_elements is None:
            under_way += 1
            most = max(most, under_way)
            begun.release()
            go.wait(20)
            under_way -= 1
        dataset = decode(*args, max_elements=max_elements, **more)
        decoded.append(len(dataset))
        return dataset

    monkeypatch.setattr(decoding.datasets, "decode_identifier", slow)
    server, _ = make_server()
    of_first, of_second = (EncodedDataset(plain(count), ImplicitVRLittleEndian) for count in (few, many))
    options = {"contexts": [aiodimse.PresentationContext(FIND, [ImplicitVRLittleEndian])], "operations_window": 0}
    async with testing.joined(server, **options) as first, testing.joined(server, **options) as second:
        asked = [asyncio.ensure_future(first.c_find(of_first, FIND)) for _ in range(4)]
        await asyncio.to_thread(begun.acquire)
        for _ in range(3):
            await testing.settle()
        asked.append(asyncio.ensure_future(second.c_find(of_second, FIND)))
        for _ in range(3):
            await testing.settle()
        go.set()
        assert [(await each).status for each in asked] == [0x0000] * 5
    assert decoded == [few, many, few, few, few]
    assert most == 1


@pytest.mark.parametrize(("size", "waits"), [(decoding._SOME // 2, 0), (2 * decoding._SOME, 1)])
async def test_large_data_sets_wait_for_their_turn_of_the_event_loop(
    size: int, waits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited, next_share = [], Turns.next_share

    async def noted(turns: Turns) -> None:
        waited.append(turns)
        await next_share(turns)

    monkeypatch.setattr(Turns, "next_share", noted)
    server, _ = make_server()
    data = implicit(0x00101000, b"x" * size)
    offer = [aiodimse.PresentationContext(FIND, [ImplicitVRLittleEndian])]
    async with testing.joined(server, contexts=offer) as association:
        assert (await association.c_find(EncodedDataset(data, ImplicitVRLittleEndian), FIND)).status == 0x0000
    assert len(waited) == waits


# --- what is tolerated of a data set ----------------------------------------------------------------------------------

NAME = explicit(0x00100010, b"PN", b"A^B ")
TOLERATED = {
    "dataset-padding": (NAME + b"\0", NAME + bytes(16)),
    "foreign-element": (
        explicit(0x00020010, b"UI", b"1.2\0") + NAME,
        NAME + explicit(REFERENCED, b"SQ", implicit(ITEM, explicit(0x00000002, b"UI", b"1.2\0"))),
    ),
}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("key", "data"), [(key, data) for key, both in TOLERATED.items() for data in both])
async def test_what_is_tolerated_is_said_once_and_refused_where_strict(
    key: str, data: bytes, strict: bool, caplog: pytest.LogCaptureFixture
) -> None:
    server = aiodimse.Server(ae_title="ARCHIVE", strict=strict)
    asked: list[Any] = []

    @server.on_c_find
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[Any]:
        asked.append(request.identifier)
        yield 0xFF00, EncodedDataset(data, ExplicitVRLittleEndian)
        yield 0xFF00, EncodedDataset(data, ExplicitVRLittleEndian)

    @server.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        asked.append(await request.dataset())
        return 0x0000

    contexts = [aiodimse.PresentationContext(FIND, [ExplicitVRLittleEndian])]
    sound = EncodedDataset(NAME, ExplicitVRLittleEndian)
    async with testing.joined(server, contexts=contexts, strict=False) as association:
        operation = association.c_find(EncodedDataset(data, ExplicitVRLittleEndian), FIND)
        if strict:
            with pytest.raises(aiodimse.DIMSEFailure) as failed:
                await operation.collect()
            assert failed.value.status == 0xC310
        else:
            assert [match.PatientName for match in await operation.collect()] == ["A^B", "A^B"]
            assert [list(each.keys())[0] for each in asked] == [0x00100010]  # noqa: RUF015
            words = [record.message for record in caplog.records if f"tolerated {key}" in record.message]
            assert len(words) == 2  # one of each side
    if not strict:
        async with testing.joined(server, contexts=contexts, strict=True) as association:
            found: list[Any] = []
            with suppress(aiodimse.DatasetDecodeError):
                found = await association.c_find(sound, FIND).collect()
            assert found == []
