"""What Storage Commitment asks and tells, read and written: as either side does it, and as a stranger might."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from struct import pack
from typing import Any

import pytest
from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

import aiodimse
from aiodimse import commitment, testing
from aiodimse.commitment import CommitmentReport, CommitmentRequest, Reference

EXPLICIT = "1.2.840.10008.1.2.1"
CT = aiodimse.sop_class.CTImageStorage
REFERENCES = (Reference(str(CT), "1.2.3"), Reference(str(CT), "1.2.4"))


async def read_both_ways(kind: type[Any], request: aiodimse.NormalizedRequest) -> Any:
    """Read at once and in shares; what is found, or raised, is the same."""
    try:
        found = kind.read(request)
    except aiodimse.DIMSEFailure as error:
        with pytest.raises(aiodimse.DIMSEFailure, match=f"^{re.escape(str(error))}$"):
            await kind.read_in_shares(request)
        raise
    assert await kind.read_in_shares(request) == found
    return found


async def asked(
    dataset: Dataset | aiodimse.EncodedDataset | CommitmentRequest | None, action: int = 1
) -> tuple[int, CommitmentRequest | None]:
    """The status of an N-ACTION, and what its handler read."""
    server, found = aiodimse.Server(), []

    @server.on_n_action(commitment.SOP_CLASS)
    async def keep(request: aiodimse.NormalizedRequest) -> int:
        found.append(await read_both_ways(CommitmentRequest, request))
        return 0x0000

    async with testing.joined(server, contexts=[commitment.SOP_CLASS]) as association:
        if isinstance(dataset, CommitmentRequest):
            response = await dataset.send(association)
        else:
            response = await association.n_action(commitment.SOP_CLASS, commitment.INSTANCE, action, dataset)
    return response.status, found[0] if found else None


async def told(
    dataset: Dataset | aiodimse.EncodedDataset | CommitmentReport, event: int = 1
) -> tuple[int, CommitmentReport | None]:
    """The status of an N-EVENT-REPORT, and what its handler read."""
    server, found = aiodimse.Server(), []

    @server.on_n_event_report(commitment.SOP_CLASS)
    async def hear(request: aiodimse.NormalizedRequest) -> int:
        found.append(await read_both_ways(CommitmentReport, request))
        return 0x0000

    context = aiodimse.PresentationContext(commitment.SOP_CLASS, scu=False, scp=True)
    async with testing.joined(server, contexts=[context]) as association:
        if isinstance(dataset, CommitmentReport):
            response = await dataset.send(association)
        else:
            response = await association.n_event_report(commitment.SOP_CLASS, commitment.INSTANCE, event, dataset)
    return response.status, found[0] if found else None


async def test_a_request_arrives_as_it_was_sent() -> None:
    request = CommitmentRequest("1.2.3.4.5", REFERENCES)
    assert await asked(request) == (0x0000, request)


@pytest.mark.parametrize(
    "references",
    [
        REFERENCES,
        (REFERENCES[0], Reference(str(CT), "1.2.4", commitment.NO_SUCH_INSTANCE)),
        (Reference(str(CT), "1.2.3", commitment.CLASS_CONFLICT),),
    ],
    ids=["all", "some", "none"],
)
@pytest.mark.parametrize("title", [None, "ARCHIVE"])
async def test_a_report_arrives_as_it_was_sent(references: tuple[Reference, ...], title: str | None) -> None:
    report = CommitmentReport("1.2.3.4.5", references, title)
    assert await told(report) == (0x0000, report)


def dataset_of(transaction: str | None = "1.2", **sequences: list[dict[str, Any]]) -> Dataset:
    dataset = Dataset()
    if transaction is not None:
        dataset.TransactionUID = transaction
    for keyword, items in sequences.items():
        setattr(dataset, keyword, [aiodimse.identifier(None, **item) for item in items])
    return dataset


ONE = {"ReferencedSOPClassUID": CT, "ReferencedSOPInstanceUID": "1.2.3"}


@pytest.mark.parametrize(
    ("dataset", "status"),
    [
        (None, 0x0120),
        (dataset_of(None, ReferencedSOPSequence=[ONE]), 0x0120),
        (dataset_of("", ReferencedSOPSequence=[ONE]), 0x0120),
        (dataset_of(), 0x0120),
        (dataset_of(ReferencedSOPSequence=[]), 0x0120),
        (dataset_of(ReferencedSOPSequence=[{"ReferencedSOPClassUID": CT}]), 0x0120),
        (dataset_of(ReferencedSOPSequence=[{"ReferencedSOPInstanceUID": "1.2"}]), 0x0120),
    ],
)
async def test_a_request_that_lacks_something(dataset: Dataset | None, status: int) -> None:
    assert await asked(dataset) == (status, None)


def explicit(tag: int, vr: bytes, value: bytes) -> bytes:
    return pack("<HH2s2xL", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


UIDS = explicit(0x00081150, b"UN", b"1.2.") + explicit(0x00081155, b"UN", b"1.3.")
UID = b"\x08\x00\x95\x11UI\x04\x001.2\0"
ITEM = pack("<HHL", 0xFFFE, 0xE000, len(UIDS)) + UIDS
DAMAGED = {
    "no items": explicit(0x00081199, b"UN", ITEM),  # they would have to be in Implicit VR
    "no item": explicit(0x00081199, b"UN", b"1.2.3.4.5.6."),
    "a text": b"\x08\x00\x99\x11LO\x08\x001.2.3.4.",
    "an item that ends early": b"\x08\x00\x99\x11LO\x0a\x00" + ITEM[:10],
}


@pytest.mark.parametrize("damage", DAMAGED)
async def test_a_sequence_that_does_not_decode_is_the_fault_of_the_peer(
    damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = aiodimse.EncodedDataset(UID + DAMAGED[damage], EXPLICIT)
    assert await asked(data) == (0x0212, None)
    assert await told(data) == (0x0212, None)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_the_numbers_are_those_of_the_standard() -> None:
    """PS3.4 J.3.3.1.1; a report that was read with the same wrong number would look right."""
    found = commitment.PROCESSING_FAILURE, commitment.NO_SUCH_INSTANCE, commitment.CLASS_CONFLICT
    assert found == (0x0110, 0x0112, 0x0119)


@pytest.mark.parametrize(
    ("dataset", "element"),
    [
        (dataset_of(None, ReferencedSOPSequence=[{"ReferencedSOPInstanceUID": "1.2"}]), 0x00081195),
        (dataset_of(), 0x00081199),
        (dataset_of(ReferencedSOPSequence=[{"ReferencedSOPInstanceUID": "1.2"}]), 0x00081199),
    ],
)
async def test_what_is_missing_is_named(dataset: Dataset, element: int) -> None:
    server = aiodimse.Server()

    @server.on_n_action(commitment.SOP_CLASS)
    async def keep(request: aiodimse.NormalizedRequest) -> int:
        CommitmentRequest.read(request)
        return 0x0000

    async with testing.joined(server, contexts=[commitment.SOP_CLASS]) as association:
        response = await association.n_action(commitment.SOP_CLASS, commitment.INSTANCE, 1, dataset)
    assert list(response.offending_elements) == [element]


async def test_another_action_and_another_event() -> None:
    assert await asked(dataset_of(ReferencedSOPSequence=[ONE]), action=2) == (0x0123, None)
    assert await told(dataset_of(ReferencedSOPSequence=[ONE]), event=3) == (0x0113, None)


@pytest.mark.parametrize("read", [asked, told])
async def test_more_instances_than_are_taken(read: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commitment, "MAX_REFERENCES", 2)
    assert (await read(dataset_of(ReferencedSOPSequence=[ONE] * 2)))[0] == 0x0000
    assert (await read(dataset_of(ReferencedSOPSequence=[ONE] * 3)))[0] == 0x0213
    assert (await read(dataset_of(ReferencedSOPSequence=[ONE] * 2, FailedSOPSequence=[ONE])))[0] == 0x0213


async def test_a_failure_without_a_reason_is_a_failure() -> None:
    _, report = await told(dataset_of(FailedSOPSequence=[ONE]), event=2)
    assert report is not None
    assert [each.failure_reason for each in report.references] == [commitment.PROCESSING_FAILURE]


@pytest.mark.parametrize(
    ("vr", "value"), [("LO", "abc"), ("US", [1, 2]), ("OB", b"\x01\x02"), ("IS", "-5"), ("UL", 65536)]
)
async def test_a_failure_whose_reason_is_no_number_is_a_failure(vr: str, value: object) -> None:
    """The other instances of the report count all the same."""
    dataset = dataset_of(ReferencedSOPSequence=[ONE], FailedSOPSequence=[ONE])
    dataset.FailedSOPSequence[0].add(DataElement(0x00081197, vr, value))
    status, report = await told(dataset, event=2)
    assert status == 0x0000
    assert report is not None
    assert [each.failure_reason for each in report.references] == [0, commitment.PROCESSING_FAILURE]


async def test_a_failure_whose_reason_has_a_wrong_length_is_a_failure() -> None:
    item = Dataset()
    item[0x00081197] = RawDataElement(BaseTag(0x00081197), "US", 3, b"\x01\x02\x03", 0, False, True)
    assert commitment._failure_reason(item) == commitment.PROCESSING_FAILURE


def test_uids_of_instances_stay_out_of_what_is_logged() -> None:
    assert "1.2.4" not in repr(CommitmentRequest("9", REFERENCES)) + repr(CommitmentReport("9", REFERENCES))
