"""What a handler may give that has the right type and still cannot be sent: the handler gets the blame, and the peer
one final response."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

import aiodimse
from aiodimse import sop_class, testing

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
STEP = sop_class.ModalityPerformedProcedureStep
CT = sop_class.CTImageStorage
PATH = str(get_testdata_file("CT_small.dcm"))
NAME = "Doe^John"
SERVICES = ("C-ECHO", "C-STORE", "C-FIND", "C-GET", "N-CREATE")
INVALID = {"C-ECHO": 0x0110, "C-STORE": 0xC002, "C-FIND": 0xC002, "C-GET": 0xC002, "N-CREATE": 0x0110}


class Raises:
    """Raises, whatever is asked of it."""

    def __index__(self) -> int:
        raise RuntimeError(NAME)

    def __str__(self) -> str:
        raise RuntimeError(NAME)


def raw(tag: int, vr: str, value: bytes) -> Dataset:
    """A status data set with an element that pydicom has not converted yet."""
    dataset = Dataset()
    dataset.Status = 0xA700
    dataset._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, True, True)
    return dataset


WRONG: dict[str, Callable[[], Any]] = {
    "an offending element below 0": lambda: aiodimse.Reply(0xA700, offending_elements=(-1,)),
    "an offending element above FFFFFFFF": lambda: aiodimse.Reply(0xA700, offending_elements=(1 << 32,)),
    "more offending elements than a peer takes": lambda: aiodimse.Reply(0xA700, offending_elements=range(100_000)),
    "an attribute above FFFFFFFF": lambda: aiodimse.Reply(0x0107, attributes=[1 << 33]),
    "a comment that raises": lambda: aiodimse.Reply(0xA700, error_comment=Raises()),  # type: ignore[arg-type]
    "a status that raises": Raises,
    "a status of three bytes": lambda: raw(0x00000900, "US", b"abc"),
    "an error ID of one byte": lambda: raw(0x00000903, "US", b"a"),
    "an error ID of a VR that does not exist": lambda: raw(0x00000903, "ZZ", b"ab"),
}


def serve(service: str, answer: Callable[[], Any]) -> aiodimse.Server:
    server = aiodimse.Server(ae_title="ARCHIVE", accept_called=True)

    async def one(request: Any) -> Any:
        return answer()

    async def many(request: Any) -> Any:
        if service == "C-GET":
            yield 2
        yield answer()

    match service:
        case "C-ECHO":
            server.on_c_echo(one)
        case "C-STORE":
            server.on_c_store(one)
        case "C-FIND":
            server.on_c_find(many)
        case "C-GET":
            server.on_c_get(many)
        case "N-CREATE":
            server.on_n_create(STEP)(one)
    return server


async def ask(service: str, server: aiodimse.Server) -> aiodimse.Response:
    """Ask it once, and see that the association lives."""
    contexts: list[str | aiodimse.PresentationContext] = [
        sop_class.Verification,
        FIND,
        GET,
        STEP,
        aiodimse.PresentationContext(CT),
    ]
    async with testing.joined(server, contexts=contexts) as association:
        match service:
            case "C-ECHO":
                response = await association.c_echo()
            case "C-STORE":
                response = await association.c_store(PATH)
            case "C-FIND":
                response = await association.c_find(Dataset(), FIND)
            case "C-GET":
                response = await association.c_get(Dataset(), GET)
            case _:
                response = await association.n_create(STEP)
        again = await association.c_echo()
        assert again.status == (response.status if service == "C-ECHO" else 0x0000)
    return response


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("service", SERVICES)
async def test_an_answer_that_cannot_be_sent(service: str, wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    response = await ask(service, serve(service, WRONG[wrong]))
    assert response.status == INVALID[service]
    if service == "C-GET":
        assert response.progress == aiodimse.Progress(None, 0, 2, 0)
    assert "the handler of" in caplog.text
    assert "in the library itself" not in caplog.text
    assert NAME not in caplog.text


# --- DIMSEFailure -----------------------------------------------------------------------------------------------------


class NotInitialized(aiodimse.DIMSEFailure):
    def __init__(self) -> None:
        """Call nobody."""


def failure(**attributes: Any) -> Callable[[], Any]:
    def raises() -> Any:
        error = aiodimse.DIMSEFailure(0xA700, "later", offending_elements=(0x00100020,))
        for name, value in attributes.items():
            setattr(error, name, value)
        raise error

    return raises


def not_initialized() -> Any:
    raise NotInitialized


RAISED = {"C-ECHO": 0x0110, "C-STORE": 0xC211, "C-FIND": 0xC311, "C-GET": 0xC411, "N-CREATE": 0x0110}


@pytest.mark.parametrize(
    "attributes",
    [
        {"comment": Raises()},
        {"offending_elements": ("PatientID",)},
        {"offending_elements": (1 << 40,)},
        {"offending_elements": 1 << 40},
    ],
)
@pytest.mark.parametrize("service", SERVICES)
async def test_a_failure_keeps_its_status_without_what_cannot_be_sent(
    service: str, attributes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    response = await ask(service, serve(service, failure(**attributes)))
    assert response.status == 0xA700
    assert (response.error_comment is None) is ("comment" in attributes)
    assert (response.offending_elements == ()) is ("offending_elements" in attributes)
    assert "raised a DIMSEFailure whose" in caplog.text
    assert "in the library itself" not in caplog.text


@pytest.mark.parametrize("raises", [failure(status=Raises()), not_initialized])
@pytest.mark.parametrize("service", SERVICES)
async def test_a_failure_without_a_status(
    service: str, raises: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert (await ask(service, serve(service, raises))).status == RAISED[service]
    assert "in the library itself" not in caplog.text


# --- instances --------------------------------------------------------------------------------------------------------


class Uninitialized(aiodimse.Instance):
    def __init__(self) -> None:
        """Call nobody."""


def numbered() -> aiodimse.Instance:
    return aiodimse.Instance(CT, 5, "1.2.840.10008.1.2.1")  # type: ignore[arg-type]


@pytest.mark.parametrize("instance", [Uninitialized, numbered])
async def test_an_instance_without_a_uid_is_one_failed_sub_operation(
    instance: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    response = await ask("C-GET", serve("C-GET", lambda: (0xFF00, instance())))
    assert (response.status, response.progress) == (0xA702, aiodimse.Progress(None, 0, 2, 0))
    assert response.failed_sop_instance_uids == ()
    assert "in the library itself" not in caplog.text


# --- destinations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeouts", [5, "5", {}])
async def test_a_destination_whose_timeouts_are_none(timeouts: Any, caplog: pytest.LogCaptureFixture) -> None:
    move = sop_class.StudyRootQueryRetrieveInformationModelMove
    server = aiodimse.Server(ae_title="ARCHIVE", accept_called=True)

    @server.on_c_move(move)
    async def moved(request: aiodimse.MoveRequest) -> AsyncIterator[Any]:
        yield aiodimse.Destination("127.0.0.1", 1, timeouts=timeouts)
        yield 0

    async with testing.joined(server, contexts=[move]) as association:
        assert (await association.c_move(Dataset(), move, destination="X")).status == 0xC515
    assert "in the library itself" not in caplog.text


# --- EncodedDataset ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "transfer_syntax"), [("text", "1.2"), (None, "1.2"), ([1, 2], "1.2"), (b"", None)])
@pytest.mark.parametrize("service", ["C-FIND", "N-CREATE"])
async def test_an_encoded_data_set_that_is_none(service: str, data: Any, transfer_syntax: Any) -> None:
    response = await ask(service, serve(service, lambda: aiodimse.EncodedDataset(data, transfer_syntax)))
    assert response.status == RAISED[service]
    with pytest.raises(TypeError):
        aiodimse.EncodedDataset(data, transfer_syntax)


def test_an_encoded_data_set_owns_its_bytes() -> None:
    data = bytearray(b"ab")
    encoded = aiodimse.EncodedDataset(data, "1.2")  # type: ignore[arg-type]
    data[:] = b"cd"
    assert encoded.data == b"ab"
    assert encoded == aiodimse.EncodedDataset(memoryview(b"ab"), "1.2")  # type: ignore[arg-type]
