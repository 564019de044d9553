"""Repository Query (PS3.4 C.6.4): pages of records, on every index."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from archive import strategies
from archive.databases import KINDS, open_index
from pydicom import DataElement, Dataset

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import Archive, provide
from aiodimse.archive.header import header_of
from aiodimse.archive.models import Level
from aiodimse.archive.repository import repository_query

HOST = "127.0.0.1"
QUERY = sop_class.RepositoryQuery
STUDIES = [f"1.2.{number}" for number in range(1, 8)]


@pytest.fixture(params=KINDS)
async def archive(
    request: pytest.FixtureRequest, tmp_path: Path, a_file: Callable[..., Path]
) -> AsyncIterator[Archive]:
    for number in range(1, 8):
        for image in ("1", "2"):
            a_file(f"archive/{number}-{image}.dcm", patient=f"P{number % 3}", study=str(number), image=image)
    archive = await Archive.open(tmp_path / "archive", index=await open_index(request.param, tmp_path))
    yield archive
    await archive.close()


@pytest.fixture
async def peer(archive: Archive) -> AsyncIterator[aiodimse.Association]:
    server = aiodimse.Server(ae_title="ARCHIVE")
    provide(server, archive)
    async with (
        server.listen(HOST, 0) as listening,
        aiodimse.connect(HOST, listening.port, called_ae_title="ARCHIVE", contexts=[QUERY]) as association,
    ):
        yield association


def asked(level: str = "STUDY", **keys: Any) -> Dataset:
    return strategies.asked(level, **{"StudyInstanceUID": None, "RecordKey": None, **keys})


async def page(peer: aiodimse.Association, identifier: Dataset) -> tuple[list[Dataset], int]:
    """The records of one query, and its final status."""
    async with peer.c_find(identifier, QUERY) as matches:
        return [match async for match in matches], int(matches.status)


async def test_all_records_at_once(peer: aiodimse.Association) -> None:
    records, status = await page(peer, asked())
    assert status == 0x0000
    assert sorted(record.StudyInstanceUID for record in records) == STUDIES
    assert len({record.RecordKey for record in records}) == len(STUDIES)
    assert all(isinstance(record.RecordKey, bytes) for record in records)
    assert all("PatientID" not in record for record in records), "not asked for"


@pytest.mark.parametrize(
    ("level", "most", "total"), [("STUDY", 1, 7), ("STUDY", 3, 7), ("STUDY", 7, 7), ("STUDY", 8, 7), ("IMAGE", 5, 14)]
)
async def test_page_after_page(peer: aiodimse.Association, level: str, most: int, total: int) -> None:
    keys: dict[str, Any] = {} if level == "STUDY" else {"SeriesInstanceUID": "", "SOPInstanceUID": ""}
    everything, _ = await page(peer, asked(level, **keys))
    found: list[Dataset] = []
    prior: dict[str, Any] = {}
    while True:
        records, status = await page(peer, asked(level, MaximumNumberOfRecords=most, **keys, **prior))
        found += records
        assert len(records) <= most
        if status == 0x0000:
            break
        assert (status, len(records)) == (0xB001, most)
        prior = {"PriorRecordKey": records[-1].RecordKey}
    assert len(found) == total
    assert found == everything


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "memory"])
async def test_a_page_does_not_read_those_before_it(
    kind: str, tmp_path: Path, an_object: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand pages of a million studies would otherwise read half a billion."""
    index = await open_index(kind, tmp_path)
    await index.add([header_of(an_object(f"P{number}", str(number)), str(number)) for number in range(600)])
    rules = aiodimse.ExtendedQuery()
    everything = repository_query(asked(), rules)
    records = [everything.record_key(match) async for match in index.find(everything.query)]
    fetched: list[int] = []
    fetch = index._fetch  # type: ignore[attr-defined]

    def counted(query: Any) -> Any:
        rows = fetch(query)
        fetched.append(len(rows))
        return rows

    monkeypatch.setattr(index, "_fetch", counted)
    for place, most in ((0, 2000), (299, 1000), (598, 10)):
        fetched.clear()
        later = repository_query(asked(PriorRecordKey=records[place]), rules)
        assert [later.record_key(match) async for match in index.find(later.query)] == records[place:]
        assert sum(fetched) <= most
    await index.close()


async def test_records_come_once_each_while_studies_come_and_go(
    peer: aiodimse.Association, archive: Archive, an_object: Callable[..., Dataset]
) -> None:
    """What is there all the time is found once; what came meanwhile comes behind what was found, or not at all."""
    found: list[str] = []
    prior: dict[str, Any] = {}
    number, status = 100, 0xB001
    while status == 0xB001:
        records, status = await page(peer, asked(MaximumNumberOfRecords=2, **prior))
        found += [record.StudyInstanceUID for record in records]
        prior = {"PriorRecordKey": records[-1].RecordKey}
        before = [uid for uid in found[:-1] if uid in STUDIES]
        if before and status == 0xB001:
            gone = before[0].rpartition(".")[2]
            await archive.index.remove([f"{gone}-1.dcm", f"{gone}-2.dcm"])
        if number < 103:
            number += 1
            await archive.index.add([header_of(an_object(f"P{number}", str(number)), f"new-{number}")])
    assert len(found) == len(set(found))
    assert set(STUDIES) <= set(found)


@pytest.mark.parametrize("uid", ["1.2.3", "1.2.34", "9" * 64, "9" * 65, "1.2.ä", "1\0"])
async def test_a_record_key_of_any_study(
    peer: aiodimse.Association, archive: Archive, an_object: Callable[..., Dataset], uid: str
) -> None:
    header = header_of(an_object("PX", "77"), "x")
    header.levels[Level.STUDY]["StudyInstanceUID"] = (uid,)
    await archive.index.add([header])
    one, status = await page(peer, asked(PatientID="PX", MaximumNumberOfRecords=1))
    assert (len(one), status) == (1, 0x0000)
    assert await page(peer, asked(PatientID="PX", PriorRecordKey=one[0].RecordKey)) == ([], 0x0000)


async def test_matching_goes_on_as_everywhere(peer: aiodimse.Association) -> None:
    records, status = await page(peer, asked(PatientID="P1", MaximumNumberOfRecords=2))
    assert (len(records), status) == (2, 0xB001)
    records, status = await page(peer, asked(PatientID="P1", PriorRecordKey=records[-1].RecordKey))
    assert (len(records), status) == (1, 0x0000)
    assert records[0].PatientID == "P1"


@pytest.mark.parametrize(("most", "expected"), [(None, 3), (0, 3), (5, 3), (2, 2)])
async def test_our_own_limit_is_no_failure(archive: Archive, most: int | None, expected: int) -> None:
    """C.6.4.5: the peer goes on after the last record. Of other queries it would have to ask for less."""
    server = aiodimse.Server(ae_title="ARCHIVE", limits=aiodimse.Limits(search_responses=3))
    provide(server, archive)
    async with (
        server.listen(HOST, 0) as listening,
        aiodimse.connect(HOST, listening.port, called_ae_title="ARCHIVE", contexts=[QUERY]) as peer,
    ):
        found: list[str] = []
        prior: dict[str, Any] = {}
        status = 0xB001
        while status == 0xB001:
            records, status = await page(peer, asked(MaximumNumberOfRecords=most, **prior))
            assert status == 0x0000 or len(records) == expected
            found += [record.StudyInstanceUID for record in records]
            prior = {"PriorRecordKey": records[-1].RecordKey}
    assert (sorted(found), status) == (STUDIES, 0x0000)


@pytest.mark.parametrize("most", [None, 0])
async def test_without_a_record_key_and_a_maximum(peer: aiodimse.Association, most: int | None) -> None:
    identifier = asked(MaximumNumberOfRecords=most)
    del identifier.RecordKey
    records, status = await page(peer, identifier)
    assert (len(records), status) == (7, 0x0000)
    assert all("RecordKey" not in record for record in records)


@pytest.mark.parametrize("key", [b"12", bytes(32)], ids=["none of ours", "of nothing"])
async def test_a_prior_record_key_that_is_none(peer: aiodimse.Association, key: bytes) -> None:
    with pytest.raises(aiodimse.DIMSEFailure) as caught:
        await page(peer, asked(PriorRecordKey=key))
    assert caught.value.status == 0xA710


async def test_a_record_that_has_gone(peer: aiodimse.Association, archive: Archive) -> None:
    records, _ = await page(peer, asked(MaximumNumberOfRecords=2))
    gone = records[-1].StudyInstanceUID.rpartition(".")[2]
    await archive.index.remove([f"{gone}-1.dcm", f"{gone}-2.dcm"])
    with pytest.raises(aiodimse.DIMSEFailure) as caught:
        await page(peer, asked(PriorRecordKey=records[-1].RecordKey))
    assert caught.value.status == 0xA710
    _, status = await page(peer, asked(PriorRecordKey=records[0].RecordKey))
    assert status == 0x0000


async def test_keys_that_are_not_kept_are_told(peer: aiodimse.Association) -> None:
    async with peer.c_find(asked(FileAccessURI=""), QUERY) as matches:
        assert {int(matches.response.status) async for _ in matches if matches.response} <= {0xFF01}


@pytest.mark.parametrize(("vr", "text"), [("LO", "many"), ("IS", "-5"), ("DS", "-1.5")])
async def test_a_maximum_that_is_no_number(peer: aiodimse.Association, vr: str, text: str) -> None:
    identifier = asked()
    identifier.add(DataElement(0x00080429, vr, text))
    with pytest.raises(aiodimse.DIMSEFailure) as caught:
        await page(peer, identifier)
    assert caught.value.status == 0xA900
