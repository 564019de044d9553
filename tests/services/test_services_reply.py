"""aiodimse.Reply, the answer of a handler with one, and what a response says of its instance."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.datasets import file_meta_dataset
from aiodimse.dimse.messages import NCreateRQ, NSetRQ

MPPS = sop_class.ModalityPerformedProcedureStep
FILM_SESSION = sop_class.BasicFilmSession
PRINT = sop_class.BasicGrayscalePrintManagementMeta
CT = sop_class.CTImageStorage
EXPLICIT = "1.2.840.10008.1.2.1"


def answering(answer: Any, *names: str) -> aiodimse.Server:
    server = aiodimse.Server(ae_title="PACS")

    async def handler(request: Any) -> Any:
        return answer

    for name in names or ("on_n_create",):
        getattr(server, name)(handler)
    return server


def status_dataset(**elements: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


async def create(server: aiodimse.Server, uid: str | None = None, dataset: Dataset | None = None) -> aiodimse.Response:
    async with testing.joined(server, contexts=[MPPS]) as association:
        return await association.n_create(MPPS, uid, dataset)


@pytest.mark.parametrize(
    "answer", [0, 0x0107, Dataset(), aiodimse.Reply(), (0, None), status_dataset(Status=0)], ids=repr
)
async def test_a_successful_n_create_always_names_its_instance(answer: Any) -> None:
    responses = [await create(answering(answer)) for _ in range(2)]
    uids = [response.sop_instance_uid for response in responses]
    assert all(uid and UID(uid).is_valid and uid.startswith("2.25.") for uid in uids)
    assert uids[0] != uids[1]


@pytest.mark.parametrize(
    "answer",
    [aiodimse.Reply(sop_instance_uid="1.2.3"), status_dataset(Status=0, AffectedSOPInstanceUID="1.2.3")],
    ids=["Reply", "status Dataset"],
)
async def test_the_handler_chooses_the_instance(answer: Any) -> None:
    assert (await create(answering(answer))).sop_instance_uid == "1.2.3"
    assert (await create(answering(answer), "1.2.3")).sop_instance_uid == "1.2.3"
    assert (await create(answering(answer), "1.2.4")).status == 0x0110  # both shall be equal


@pytest.mark.parametrize("answer", [0x0111, 0xC123, aiodimse.Reply(0x0213), "no status"], ids=repr)
@pytest.mark.parametrize("uid", [None, "1.2.3"])
async def test_a_failed_n_create_repeats_no_instance(answer: Any, uid: str | None) -> None:
    response = await create(answering(answer), uid)
    assert response.status.category is aiodimse.Category.FAILURE
    assert response.sop_instance_uid is None


def test_refusals_of_the_library_repeat_none_either() -> None:
    request = NCreateRQ(message_id=1, affected_sop_class_uid=MPPS, affected_sop_instance_uid="1.2.3")
    uids = {status: request.response(status).affected_sop_instance_uid for status in (0, 0xB001, 0x0118, 0x0213)}  # type: ignore[attr-defined]
    assert uids == {0: "1.2.3", 0xB001: "1.2.3", 0x0118: None, 0x0213: None}
    other = NSetRQ(message_id=1, requested_sop_class_uid=MPPS, requested_sop_instance_uid="1.2.3")
    assert other.response(0x0213).affected_sop_instance_uid == "1.2.3"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "answer",
    [
        aiodimse.Reply(
            0x0107, status_dataset(PatientID="42"), attributes=[0x00100010], error_comment="what", error_id=7,
            offending_elements=(0x00100020,),
        ),
        (
            status_dataset(
                Status=0x0107, AttributeIdentifierList=[0x00100010], ErrorComment="what", ErrorID=7,
                OffendingElement=[0x00100020],
            ),
            status_dataset(PatientID="42"),
        ),
    ],
    ids=["Reply", "status Dataset"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["on_n_get", "on_n_set", "on_n_create"])
async def test_all_that_a_response_may_say(name: str, answer: Any) -> None:
    retrieve = sop_class.ModalityPerformedProcedureStepRetrieve
    contexts = [retrieve if name == "on_n_get" else MPPS]
    async with testing.joined(answering(answer, name), contexts=contexts) as association:
        something = status_dataset(PatientID="1")
        response = await {
            "on_n_get": lambda: association.n_get(retrieve, "1.2.3"),
            "on_n_set": lambda: association.n_set(MPPS, "1.2.3", something),
            "on_n_create": lambda: association.n_create(MPPS, "1.2.3", something),
        }[name]()
    assert (response.status, response.error_comment, response.error_id) == (0x0107, "what", 7)
    assert (response.offending_elements, response.attributes) == ((0x00100020,), (0x00100010,))
    assert response.dataset is not None
    assert response.dataset.PatientID == "42"
    assert response.sop_instance_uid == "1.2.3"


async def test_a_reply_to_c_store_and_c_echo() -> None:
    server = answering(aiodimse.Reply(0xB000, error_comment="coerced"), "on_c_store")

    @server.on_c_echo
    async def echo(request: aiodimse.EchoRequest) -> aiodimse.Reply:
        return aiodimse.Reply(0x0110, error_comment="not today")

    image = status_dataset(SOPClassUID=CT, SOPInstanceUID="1.2.3", PatientID="1")
    image.file_meta = file_meta_dataset(CT, "1.2.3", EXPLICIT)
    async with testing.joined(server, contexts=[CT, sop_class.Verification]) as association:
        stored, echoed = await association.c_store(image), await association.c_echo()
    assert (stored.status, stored.error_comment) == (0xB000, "coerced")
    assert (echoed.status, echoed.error_comment) == (0x0110, "not today")


@pytest.mark.parametrize(
    "answer",
    [
        aiodimse.Reply(0, sop_instance_uid="no UID"),
        aiodimse.Reply(0, error_id=70000),
        aiodimse.Reply("0"),  # type: ignore[arg-type]
        aiodimse.Reply(0, offending_elements=["Tag"]),  # type: ignore[list-item]
        aiodimse.Reply(0, 7),  # type: ignore[arg-type]
    ],
    ids=repr,
)
async def test_what_a_reply_cannot_say(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert (await create(answering(answer))).status == 0x0110
    assert [record.name for record in caplog.records if record.levelname == "ERROR"] == ["aiodimse.normalized"]


async def test_an_empty_data_set_is_none_in_both_roles() -> None:
    """On the wire: Command Data Set Type 0101, no empty PDV."""
    seen: list[Any] = []
    server = answering(None)

    @server.on_n_action(FILM_SESSION)
    async def print_it(request: aiodimse.NormalizedRequest) -> Dataset:
        seen.append((request.dataset, request.message.has_data_set))
        return Dataset()

    async with testing.joined(server, contexts=[PRINT]) as association:
        response = await association.n_action(FILM_SESSION, "1.2.3", 1, Dataset())
    assert seen == [(None, False)]
    assert response.message is not None
    assert (response.dataset, response.message.has_data_set) == (None, False)


async def test_a_print_image_is_larger_than_an_identifier() -> None:
    server, sizes = answering(None), []

    @server.on_n_set(sop_class.BasicGrayscaleImageBox)
    async def image(request: aiodimse.NormalizedRequest) -> Dataset:
        assert request.dataset is not None
        sizes.append(len(request.dataset.PixelData))
        return request.dataset

    pixels = status_dataset(PixelData=bytes(2_000_000), BitsAllocated=8, PixelRepresentation=0)
    pixels["PixelData"].VR = "OW"
    async with testing.joined(server, contexts=[PRINT]) as association:
        response = await association.n_set(sop_class.BasicGrayscaleImageBox, "1.2.3", pixels)
    assert (response.status, sizes) == (0, [2_000_000])
    assert response.dataset is not None
    assert len(response.dataset.PixelData) == 2_000_000


async def test_a_response_has_a_hash_whatever_came_with_it() -> None:
    response = await create(answering(status_dataset(PatientID="42")), "1.2.3")
    assert response.dataset is not None
    same = copy.copy(response)
    assert {response, same} == {response}
