"""Retrievals from a bucket that stops, hangs, or answers errors, before and in the middle of an object.

Each sub-operation ends, the counters are right, there is one final response, and no instance is put together from two.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from archive.buckets import CREDENTIALS, HOST, Relay, new_bucket, object_store
from archive.retrieved import pixels
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import Archive, MemoryIndex, provide

obstore = pytest.importorskip("obstore", reason="the extra s3 is not installed")
pytest.importorskip("moto", reason="moto, of the extra test, is not installed")

from aiodimse.archive.storage import s3, s3_instance  # noqa: E402
from aiodimse.archive.storage.s3 import S3Storage  # noqa: E402

MR = sop_class.MRImageStorage
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
MIB = 1 << 20
ERROR = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def made(number: int, size: int) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = MR, f"1.2.3.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.PatientID = "1.2", "1.2.3", "P"
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = MR
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.add_new(0x7FE00010, "OB", bytes([number]) * size)
    return dataset


STUDY = aiodimse.identifier("STUDY", StudyInstanceUID="1.2")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with object_store() as url:
        yield url


@pytest.fixture
async def relay(endpoint: str) -> AsyncIterator[Relay]:
    async with Relay(endpoint).listening() as relay:
        yield relay


@pytest.fixture
def storage(endpoint: str, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> S3Storage:
    """A bucket behind the relay, of which nothing is awaited for long."""
    monkeypatch.setattr(s3, "_SILENCE", timedelta(seconds=0.5))
    monkeypatch.setattr(s3, "_RETRIES", timedelta(0))
    monkeypatch.setattr(s3_instance, "_SECONDS_FOR_PIECE", 1.0)
    return new_bucket(endpoint, relay.url)


class Peer:
    """An association with an archive that holds what was stored, and who receives what a C-MOVE sends."""

    def __init__(self, association: aiodimse.Association, receiver: aiodimse.Server) -> None:
        self.association, self._receiver = association, receiver

    async def retrieve(self, how: str) -> tuple[dict[str, bytes], tuple[int, int, int] | None]:
        """The pixels by SOP Instance UID; status and numbers of completed and failed sub-operations, or None if the
        association was aborted."""
        retrieval: Any
        if how == "get":
            retrieval = self.association.c_get(STUDY, GET, allow_incomplete=True)
        else:
            retrieval = self.association.c_move(
                STUDY, MOVE, destination="HERE", receiver=self._receiver, allow_incomplete=True
            )
        got, is_there = await pixels(retrieval)
        if not is_there:
            return got, None
        progress = retrieval.progress
        assert retrieval.status is not None
        assert progress is not None
        return got, (retrieval.status, progress.completed, progress.failed)


@asynccontextmanager
async def served(storage: S3Storage, *datasets: Dataset) -> AsyncIterator[Peer]:
    async with await Archive.open(storage, index=MemoryIndex()) as archive:
        server, receiver = aiodimse.Server(ae_title="ARCHIVE"), aiodimse.Server(ae_title="HERE")
        destinations: dict[str, aiodimse.Destination | tuple[str, int]] = {}
        provide(server, archive, destinations=destinations)
        async with server.listen(HOST, 0) as listening, receiver.listen(HOST, 0) as here:
            destinations["HERE"] = (HOST, here.port)
            async with aiodimse.connect(HOST, listening.port, called_ae_title="ARCHIVE", contexts=[MR]) as sender:
                for dataset in datasets:
                    assert (await sender.c_store(dataset)).status == 0x0000
            contexts = [GET, MOVE, sop_class.Verification]
            async with aiodimse.connect(
                HOST, listening.port, called_ae_title="ARCHIVE", contexts=contexts, storage=[MR]
            ) as association:
                yield Peer(association, receiver)


HOW = pytest.mark.parametrize("how", ["get", "move"])


@HOW
@pytest.mark.parametrize("then", ["cut", "hang", "trickle"])
async def test_the_rest_of_an_object_is_asked_for_again(storage: S3Storage, relay: Relay, how: str, then: str) -> None:
    """obstore repeats a request only in the first seconds after it, and a slow peer takes longer than that."""
    one = made(1, 5 * MIB)
    async with served(storage, one) as peer:
        relay.most, relay.then = 2 * MIB, then
        got, ended = await peer.retrieve(how)
    assert relay.failed.is_set()
    assert ended == (0x0000, 1, 0)
    assert got == {"1.2.3.1": one[0x7FE00010].value}


@HOW
@pytest.mark.parametrize("answer", [b"", ERROR], ids=["silent", "error"])
async def test_a_store_that_does_not_answer_costs_the_sub_operation(
    storage: S3Storage, relay: Relay, how: str, answer: bytes
) -> None:
    """What cannot be requested has failed in time, and the association lives and serves on when the store does."""
    datasets = [made(number, MIB) for number in (1, 2, 3)]
    async with served(storage, *datasets) as peer:
        relay.is_silent, relay.answer = not answer, answer
        await relay.drop()
        assert await peer.retrieve(how) == ({}, (0xA702, 0, 3))
        relay.is_silent, relay.answer = False, b""
        assert (await peer.association.c_echo()).status == 0x0000
        got, ended = await peer.retrieve(how)
        assert ended == (0x0000, 3, 0)
        assert got == {dataset.SOPInstanceUID: dataset[0x7FE00010].value for dataset in datasets}


@HOW
@pytest.mark.parametrize("then", ["cut", "hang", "trickle"])
async def test_a_store_that_is_lost_for_good_in_an_object(
    storage: S3Storage, relay: Relay, how: str, then: str
) -> None:
    """A message that has begun ends only with its association: that of a C-GET, or that to a C-MOVE's destination."""
    async with served(storage, made(1, 5 * MIB)) as peer:
        relay.most, relay.then, relay.then_silent = 2 * MIB, then, True
        got, ended = await peer.retrieve(how)
        assert got == {}
        assert ended == (None if how == "get" else (0xA702, 0, 1))
        if how == "move":
            assert (await peer.association.c_echo()).status == 0x0000


@HOW
async def test_an_object_is_not_put_together_from_two(relay: Relay, endpoint: str, how: str) -> None:
    """Another instance takes the place of one that was sent in half."""
    storage = new_bucket(endpoint, relay.url)
    async with served(storage, made(1, 5 * MIB)) as peer:
        relay.most, relay.then = 2 * MIB, "wait"
        retrieving = asyncio.ensure_future(peer.retrieve(how))
        await asyncio.wait_for(relay.failed.wait(), 20)
        another, file = made(2, 5 * MIB), BytesIO()
        another.save_as(file, enforce_file_format=True)
        direct = S3Storage(f"s3://{storage._store.config['bucket']}/archive", endpoint=endpoint, **CREDENTIALS)
        await asyncio.to_thread(obstore.put, direct._store, storage.location_for("1.2.3.1"), file.getvalue())
        relay.most = 1 << 40
        relay.goes_on.set()
        got, ended = await retrieving
    assert got == {}
    assert ended == (None if how == "get" else (0xA702, 0, 1))
