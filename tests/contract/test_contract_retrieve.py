"""The columns C-GET and C-MOVE of the contract, each row at each point where it can happen
(docs/topics/query-retrieve.md).

One table serves both: what a C-GET stores on its own association, a C-MOVE stores at the scripted destination.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from contract.stage import (
    CT,
    CT_UID,
    DESTINATION,
    GET,
    HOST,
    IDENTIFIER,
    MOVE,
    Destination,
    Do,
    Script,
    check_retrieve,
    failed_list,
    image,
    images,
    make_server,
    match,
    open_destination,
    open_stage,
    play,
    register,
    status_dataset,
    unencodable,
)
from contract.test_contract_find import HANDLERS as FIND_HANDLERS
from contract.test_contract_find import NOT_DECODED, OddError
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from scripted import wire

import aiodimse
from aiodimse import DIMSEFailure, EncodedDataset, Instance, Status, sop_class
from aiodimse.services.provider.retrieve import read_destination

both = pytest.mark.parametrize("service", ["C-GET", "C-MOVE"])
RAISED = {"C-GET": 0xC411, "C-MOVE": 0xC511}
NUMBER = {"C-GET": 0xC413, "C-MOVE": 0xC513}
NOTHING = {"C-GET": 0xC413, "C-MOVE": 0xC514}
MR_UID = str(sop_class.MRImageStorage)


def script(service: str, *steps: Any) -> Script:
    """Steps from the number of sub-operations on; a C-MOVE names the destination first."""
    return Script(*([DESTINATION] if service == "C-MOVE" else []), *steps)


# --- how sub-operations end -------------------------------------------------------------------------------------------

# What the peer answers to each of the sub-operations; the final status, (completed, failed, warning), which failed.
ANSWERS: dict[str, tuple[list[int], int, tuple[int, int, int], list[int]]] = {
    "one": ([0], 0x0000, (1, 0, 0), []),
    "all completed": ([0, 0, 0], 0x0000, (3, 0, 0), []),
    "all failed": ([0xA700, 0xA900, 0xC000], 0xA702, (0, 3, 0), [1, 2, 3]),
    "one failed at once": ([0xA700], 0xA702, (0, 1, 0), [1]),
    "the first failed": ([0xA700, 0, 0], 0xB000, (2, 1, 0), [1]),
    "the second failed": ([0, 0xC123, 0], 0xB000, (2, 1, 0), [2]),
    "the last failed": ([0, 0, 0x0110], 0xB000, (2, 1, 0), [3]),
    "warnings": ([0xB000, 0xB006, 0xB007], 0xB000, (0, 0, 3), []),
    "a warning": ([0, 0, 0xB007], 0xB000, (2, 0, 1), []),
    "general warnings": ([0x0001, 0x0107, 0x0116], 0xB000, (0, 0, 3), []),
    "failed and warnings": ([0xA700, 0xB000], 0xB000, (0, 1, 1), [1]),
    "one of each": ([0, 0xB000, 0xA900], 0xB000, (1, 1, 1), [3]),
    "refused": ([0x0122, 0x0124, 0x0117], 0xA702, (0, 3, 0), [1, 2, 3]),
    "neither this nor that": ([0xFE00, 0xFF00, 0x1234], 0xA702, (0, 3, 0), [1, 2, 3]),
}


@both
@pytest.mark.parametrize("answers", ANSWERS)
async def test_the_outcome_of_sub_operations(service: str, answers: str) -> None:
    statuses, status, counters, failed = ANSWERS[answers]
    number = len(statuses)
    handler = script(service, number, *images(number))
    played = await play(service, handler, statuses)
    check_retrieve(played, service, number, status, (None, *counters), [f"1.2.3.{n}" for n in failed])
    assert [stored.instance for stored in played.stored] == [f"1.2.3.{n}" for n in range(1, number + 1)]
    assert [pending.counters[0] for pending in played.pending] == list(range(number - 1, 0, -1))
    assert handler.closed == [None]


@both
async def test_no_sub_operations_are_success(service: str) -> None:
    played = await play(service, script(service, 0))
    check_retrieve(played, service, 0, 0x0000, (None, 0, 0, 0))
    assert played.responses == [played.final]
    assert played.destination.asked == [], "no association without need"


@both
async def test_counters_step_by_step(service: str) -> None:
    played = await play(service, script(service, 4, *images(4)), [0, 0xA700, 0xB000, 0])
    assert [pending.counters for pending in played.pending] == [(3, 1, 0, 0), (2, 1, 1, 0), (1, 1, 1, 1)]
    check_retrieve(played, service, 4, 0xB000, (None, 2, 1, 1), ["1.2.3.2"])


# --- fewer and more than announced ------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("end", [[], [0x0000], [(0x0000, None)], [Status(0)]], ids=["ends", "0000", "pair", "Status"])
@pytest.mark.parametrize(("yielded", "status"), [(0, 0xA702), (1, 0xB000), (2, 0xB000)])
async def test_fewer_than_announced_count_as_failed(service: str, end: list[Any], yielded: int, status: int) -> None:
    played = await play(service, script(service, 3, *images(yielded), *end))
    check_retrieve(played, service, 3, status, (None, yielded, 3 - yielded, 0))
    assert len(played.pending) == yielded


@both
@pytest.mark.parametrize("number", [0, 1, 2])
async def test_more_than_announced_are_not_sent(service: str, number: int, caplog: pytest.LogCaptureFixture) -> None:
    handler = script(service, number, *images(number + 2))
    played = await play(service, handler)
    check_retrieve(played, service, number, 0x0000, (None, number, 0, 0))
    assert len(played.stored) == number
    assert handler.closed == [GeneratorExit]
    assert "more than the" in caplog.text


# --- how handlers end -------------------------------------------------------------------------------------------------

# What the handler does after k of 3 sub-operations, and the final status and comment; None: by the service.
ENDINGS: dict[str, tuple[Any, int | dict[str, int], str | None]] = {
    "raises": (ValueError("patient data"), RAISED, None),
    "raises CancelledError by itself": (asyncio.CancelledError(), RAISED, None),
    "raises an error of another association": (aiodimse.AssociationAborted(0, 0), RAISED, None),
    "raises NoAcceptedContext of another association": (aiodimse.NoAcceptedContext("elsewhere"), RAISED, None),
    "raises what is no Exception": (OddError(), RAISED, None),
    "raises DIMSEFailure": (DIMSEFailure(0xA701, "matches"), 0xA701, "matches"),
    "raises DIMSEFailure A702": (DIMSEFailure(0xA702), 0xA702, None),
    "raises DIMSEFailure that is Pending": (DIMSEFailure(0xFF00), RAISED, None),
    "status Dataset without Status": ((status_dataset(None), image(9)), 0xC001, None),
    "None": (None, 0xC002, None),
    "status None": ((None, image(9)), 0xC002, None),
    "status a str": (("x", image(9)), 0xC002, None),
    "status a bool": ((True, image(9)), 0xC002, None),
    "status too large": ((0x10000, image(9)), 0xC002, None),
    "a tuple of three": ((0xFF00, image(9), None), 0xC002, None),
    "a list": ([0xFF00, image(9)], 0xC002, None),
    "an object": (object(), 0xC002, None),
    "yields a Failure": (0xA702, 0xA702, None),
    "yields a Failure as a pair": ((0xA900, None), 0xA900, None),
    "yields a Failure with a Dataset": ((0xC000, image(9)), 0xC000, None),
    "yields a status Dataset": (status_dataset(0xA900, ErrorComment="why"), 0xA900, "why"),
    "yields a status Dataset in a pair": ((status_dataset(0xC000, ErrorComment="why"), None), 0xC000, "why"),
    "yields a Warning": (0xB000, 0xB000, None),
    "yields an unknown status": (0x1234, 0x1234, None),
    "yields an unknown status above the Pending ones": (0xFF02, 0xFF02, None),
    "yields the largest status": (0xFFFF, 0xFFFF, None),
}


@both
@pytest.mark.parametrize("done", [0, 1, 3])
@pytest.mark.parametrize("ending", ENDINGS)
async def test_an_ending_after_some_sub_operations(service: str, ending: str, done: int) -> None:
    step, expected, comment = ENDINGS[ending]
    status = expected if isinstance(expected, int) else expected[service]
    handler = script(service, 4, *images(done), step, image(8), 0xA700)
    played = await play(service, handler)
    check_retrieve(played, service, 4, status, (None, done, 4 - done, 0), comment=comment)
    assert len(played.stored) == len(played.pending) == done
    assert len(handler.closed) == 1


@both
@pytest.mark.parametrize("done", [0, 1, 3])
async def test_a_handler_that_yields_cancel(service: str, done: int) -> None:
    """FE00 is the one final response that has Remaining: what was not initiated."""
    played = await play(service, script(service, 4, *images(done), (0xFE00, None), image(8)))
    check_retrieve(played, service, 4, 0xFE00, (4 - done, done, 0, 0))


@both
async def test_a_failure_after_failures_names_them(service: str) -> None:
    played = await play(service, script(service, 4, *images(2), DIMSEFailure(0xA701, "x")), [0xA700, 0])
    check_retrieve(played, service, 4, 0xA701, (None, 1, 3, 0), ["1.2.3.1"], "x")


@both
@pytest.mark.parametrize(("status", "listed"), [(0x0000, []), (0x0001, ["1.2.3.1"])])
async def test_every_other_ending_than_success_names_them(service: str, status: int, listed: list[str]) -> None:
    played = await play(service, script(service, 2, image(1), DIMSEFailure(status)), [0xA700])
    check_retrieve(played, service, 2, status, (None, 0, 2, 0), listed)


@both
async def test_a_status_dataset_says_more(service: str) -> None:
    failure = DIMSEFailure(0xA900, "two", offending_elements=(0x00100020, 0x00080052))
    played = await play(service, script(service, 1, failure))
    check_retrieve(played, service, 1, 0xA900, (None, 0, 1, 0), comment="two")
    assert played.final.offending == [(0x0010, 0x0020), (0x0008, 0x0052)]


# --- before the first sub-operation -----------------------------------------------------------------------------------

NUMBERS: dict[str, Any] = {
    "None": None,
    "a str": "3",
    "a float": 3.0,
    "a bool": True,
    "negative": -1,
    "too large": 65536,
    "very large": 1 << 80,
    "a Dataset": image(1),
    "a status Dataset": status_dataset(0xA700),
    "a pair": (0xA702, None),
    "a path": Path("x.dcm"),
}


@both
@pytest.mark.parametrize("number", NUMBERS)
async def test_a_number_of_sub_operations_that_is_none(service: str, number: str) -> None:
    handler = script(service, NUMBERS[number], image(1))
    played = await play(service, handler)
    check_retrieve(played, service, 0, NUMBER[service], (None, 0, 0, 0))
    assert handler.closed == [GeneratorExit]
    assert played.stored == []


@both
@pytest.mark.parametrize("status", [0xA900, 0xA701])
async def test_a_status_where_the_number_is_due_is_no_number(service: str, status: int) -> None:
    """A Status is an int: 0xA900 would be 43,264 sub-operations."""
    played = await play(service, script(service, aiodimse.Status(status), image(1)))
    check_retrieve(played, service, 0, status, (None, 0, 0, 0))


@both
async def test_a_pending_status_where_the_number_is_due(service: str) -> None:
    played = await play(service, script(service, aiodimse.Status(0xFF00), image(1)))
    check_retrieve(played, service, 0, 0xC002, (None, 0, 0, 0))


class _Index:
    def __index__(self) -> int:
        return 1


@both
@pytest.mark.parametrize("number", [1, _Index()], ids=["int", "__index__"])
async def test_a_number_of_sub_operations(service: str, number: Any) -> None:
    played = await play(service, script(service, number, image(1)))
    check_retrieve(played, service, 1, 0x0000, (None, 1, 0, 0))


async def test_the_largest_number() -> None:
    played = await play("C-GET", script("C-GET", 65535, image(1)))
    assert played.pending[0].counters == (65534, 1, 0, 0)
    check_retrieve(played, "C-GET", 65535, 0xB000, (None, 1, 65534, 0))


@both
@pytest.mark.parametrize("named", [False, True], ids=["at once", "after the destination"])
async def test_a_handler_that_ends_before_the_number(service: str, named: bool) -> None:
    played = await play(service, script(service) if named else Script())
    check_retrieve(played, service, 0, NOTHING[service], (None, 0, 0, 0))


BEFORE: dict[str, tuple[Any, int | dict[str, int], str | None]] = {
    "raises": (ValueError(), RAISED, None),
    "raises CancelledError by itself": (asyncio.CancelledError(), RAISED, None),
    "raises DIMSEFailure": (DIMSEFailure(0xA701, "matches"), 0xA701, "matches"),
}


@both
@pytest.mark.parametrize("named", [False, True], ids=["at once", "after the destination"])
@pytest.mark.parametrize("ending", BEFORE)
async def test_an_ending_before_the_number(service: str, ending: str, named: bool) -> None:
    step, expected, comment = BEFORE[ending]
    status = expected if isinstance(expected, int) else expected[service]
    played = await play(service, script(service, step) if named else Script(step))
    check_retrieve(played, service, 0, status, (None, 0, 0, 0), comment=comment)
    assert played.destination.asked == []


SHAPES = {"raises when it is called": RAISED, "a coroutine that returns None": NOTHING}


@both
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_handler_that_is_no_generator(service: str, shape: str) -> None:
    played = await play(service, Script(), handler=FIND_HANDLERS[shape][0])
    check_retrieve(played, service, 0, SHAPES[shape][service], (None, 0, 0, 0))


# --- the destination that is none -------------------------------------------------------------------------------------

NO_DESTINATIONS: dict[str, tuple[Any, int]] = {
    "None": (None, 0xA801),
    "a pair of Nones": ((None, None), 0xC515),
    "a host without port": ("127.0.0.1", 0xC515),
    "port None": (("127.0.0.1", None), 0xC515),
    "port a str": (("127.0.0.1", "104"), 0xC515),
    "port a bool": (("127.0.0.1", True), 0xC515),
    "port 0": (("127.0.0.1", 0), 0xC515),
    "port 65536": (("127.0.0.1", 65536), 0xC515),
    "port negative": (("127.0.0.1", -1), 0xC515),
    "host a number": ((1, 104), 0xC515),
    "host bytes": ((b"127.0.0.1", 104), 0xC515),
    "host empty": (("", 104), 0xC515),
    "three": (("127.0.0.1", 104, "DEST"), 0xC515),
    "a number": (3, 0xC515),
    "a status": ((0xA801, None), 0xC515),
    "a Dataset": (image(1), 0xC515),
    "Destination without port": (aiodimse.Destination("127.0.0.1", 0), 0xC515),
    "Destination without host": (aiodimse.Destination("", 104), 0xC515),
}


@pytest.mark.parametrize("case", NO_DESTINATIONS)
async def test_a_destination_that_is_none(case: str) -> None:
    destination, status = NO_DESTINATIONS[case]
    handler = Script(destination, 2, *images(2))
    played = await play("C-MOVE", handler)
    check_retrieve(played, "C-MOVE", 0, status, (None, 0, 0, 0))
    assert handler.closed == [GeneratorExit]


@pytest.mark.parametrize("port", [1, 65535])
def test_the_smallest_and_the_largest_port(port: int) -> None:
    assert read_destination(("viewer", port)) == aiodimse.Destination("viewer", port)


# --- what is yielded as an instance -----------------------------------------------------------------------------------


def _file(tmp_path: Path, number: int) -> Path:
    path = tmp_path / f"{number}.dcm"
    dataset = image(number)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def instances(tmp_path: Path) -> dict[str, Any]:
    """The instance 1.2.3.1 in each of its shapes."""
    encoded = wire.dataset(
        {(0x0008, 0x0016): ("UI", CT_UID), (0x0008, 0x0018): ("UI", "1.2.3.1"), (0x0010, 0x0020): ("LO", "1")}
    )
    path = _file(tmp_path, 1)
    return {
        "a Dataset": image(1),
        "a Path": path,
        "a str": str(path),
        "an Instance of a Dataset": Instance.from_dataset(image(1)),
        "an EncodedDataset": EncodedDataset(encoded, wire.EXPLICIT_LE),
    }


SHAPES_OF_INSTANCES = (
    "a Dataset",
    "a Path",
    "a str",
    "an Instance of a Dataset",
    "an EncodedDataset",
)


@both
@pytest.mark.parametrize("shape", SHAPES_OF_INSTANCES)
@pytest.mark.parametrize("status", [None, 0xFF00, 0xFF01, Status(0xFF00)])
async def test_an_instance_in_each_of_its_shapes(
    service: str, shape: str, status: int | None, instances: dict[str, Any]
) -> None:
    value = instances[shape] if status is None else (status, instances[shape])
    played = await play(service, script(service, 1, value))
    check_retrieve(played, service, 1, 0x0000, (None, 1, 0, 0))
    (stored,) = played.stored
    assert wire.read_dataset(stored.data or b"") == {
        (0x0008, 0x0016): CT_UID.encode() + b"\0" * (len(CT_UID) % 2),
        (0x0008, 0x0018): b"1.2.3.1\0",
        (0x0010, 0x0020): b"1 ",
    }


@both
async def test_an_opened_instance(service: str, tmp_path: Path) -> None:
    opened = await Instance.open(_file(tmp_path, 1))
    check_retrieve(await play(service, script(service, 1, opened)), service, 1, 0x0000, (None, 1, 0, 0))


class _Rude(Instance):
    """An Instance of the application's whose stream raises at its first piece."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__(CT_UID, "1.2.3.2", wire.EXPLICIT_LE)
        self._error = error or ValueError("patient data")

    async def _stream(self) -> Any:
        raise self._error
        yield b""

    def stream(self) -> Any:
        return self._stream()


# What cannot be sent, and the UID that is known of it.
UNSENDABLE: dict[str, tuple[Any, str | None]] = {
    "Pending alone": (0xFF00, None),
    "Pending with None": ((0xFF00, None), None),
    "Pending with a number": ((0xFF00, 5), None),
    "Pending as a Dataset": (status_dataset(0xFF00), None),
    "no such file": (Path("/nonexistent/x.dcm"), None),
    "no path at all": ("a\0b", None),
    "a directory": (Path("/"), None),
    "a file that is none of DICOM": (Path(__file__), None),
    "a Dataset without UIDs": (match(), None),
    "a Dataset without an instance UID": (status_dataset(None, SOPClassUID=CT_UID), None),
    "a Dataset without a class UID": (status_dataset(None, SOPInstanceUID="1.2.3.2"), "1.2.3.2"),
    "a Dataset with a value that does not encode": (unencodable(image(2)), "1.2.3.2"),
    "a SOP class without a context": (image(2, "1.2.3.4.5"), "1.2.3.2"),
    "an EncodedDataset of noise": (EncodedDataset(b"noise", wire.EXPLICIT_LE), None),
    "an Instance that raises": (_Rude(), "1.2.3.2"),
    "an Instance that raises CancelledError by itself": (_Rude(asyncio.CancelledError()), "1.2.3.2"),
}


@both
@pytest.mark.parametrize("position", [0, 1, 2], ids=["first", "second", "last"])
@pytest.mark.parametrize("case", UNSENDABLE)
async def test_what_cannot_be_sent_fails_and_the_rest_goes_on(service: str, case: str, position: int) -> None:
    value, uid = UNSENDABLE[case]
    steps: list[Any] = [image(1), image(3)]
    steps.insert(position, value)
    handler = script(service, 3, *steps)
    played = await play(service, handler, destination=OnlyCT())
    check_retrieve(played, service, 3, 0xB000, (None, 2, 1, 0), [uid] if uid else [])
    assert [stored.instance for stored in played.stored] == ["1.2.3.1", "1.2.3.3"]
    assert handler.closed == [None]


# Why it was not sent, as the log has it: what it was about, and no value.
WHY: dict[str, tuple[Any, str]] = {
    "no such file": (Path("/nonexistent/x.dcm"), "for ? failed: it cannot be read: no such file or directory"),
    "a file that is none of DICOM": (Path(__file__), "for ? failed: its file is not DICOM"),
    "a SOP class without a context": (image(2, "1.2.3.4.5"), "for 1.2.3.2 failed: no accepted presentation context"),
    "an Instance that raises": (_Rude(), "for 1.2.3.2 failed: ValueError at "),
    "an Instance that raises an OSError without a number": (
        _Rude(OSError("patient data")),
        "for 1.2.3.2 failed: OSError at ",
    ),
    "an Instance that raises CancelledError by itself": (
        _Rude(asyncio.CancelledError("patient data")),
        "for 1.2.3.2 failed: CancelledError at ",
    ),
}


@both
@pytest.mark.parametrize("case", WHY)
async def test_the_log_says_why_something_was_not_sent(
    service: str, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    value, words = WHY[case]
    await play(service, script(service, 1, value), destination=OnlyCT())
    assert words in caplog.text
    assert "patient data" not in caplog.text


class OnlyCT(Destination):
    """Accepts the contexts of CT Image Storage and no others."""

    def answer(self, rq: wire.Associate) -> list[tuple[int, int, str]]:
        return [
            (context_id, 0 if uid == CT_UID else 3, syntaxes[0]) for context_id, (uid, syntaxes) in rq.proposed.items()
        ]


# --- Failed SOP Instance UID List -------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("count", [1, 900, 1200])
@pytest.mark.parametrize("transfer_syntax", [wire.EXPLICIT_LE, wire.IMPLICIT_LE])
async def test_failed_uids_however_many(
    service: str, count: int, transfer_syntax: str, recwarn: pytest.WarningsRecorder
) -> None:
    """Over 65,534 bytes, which is what an Explicit VR UI can hold, it is UN (PS3.5 6.2.2)."""
    uids = [f"1.2.{number:060d}".replace(".0", ".9") for number in range(count)]
    assert all(len(uid) == 64 for uid in uids)
    failing = []
    for uid in uids:
        dataset = image(1, "1.2.3.4.5")
        dataset.SOPInstanceUID = uid
        failing.append(dataset)
    handler, server = script(service, count, *failing), make_server()
    register(server, service, handler)
    uid = wire.STUDY_ROOT_GET if service == "C-GET" else wire.STUDY_ROOT_MOVE
    contexts = [(3, uid, [transfer_syntax]), (CT, CT_UID, [wire.EXPLICIT_LE])]
    async with open_destination(OnlyCT()) as handler.port, open_stage(server, contexts) as stage:
        rq = wire.get_rq() if service == "C-GET" else wire.move_rq("DEST")
        responses = await stage.peer.responses(
            await stage.peer.request(3, rq, wire.identifier("STUDY", transfer_syntax))
        )
        final = responses[-1]
        assert (len(responses), final.status, final.counters) == (count, 0xA702, (None, 0, count, 0))
        assert failed_list(final, transfer_syntax) == uids
        if transfer_syntax == wire.EXPLICIT_LE:
            assert final.data is not None
            assert final.data[4:6] == (b"UN" if count * 65 - 1 > 65534 else b"UI")
        await stage.peer.release()
    assert not recwarn.list


# --- the requests -----------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("case", NOT_DECODED)
async def test_an_identifier_that_does_not_decode(service: str, case: str) -> None:
    handler, server = script(service, 0), make_server()
    register(server, service, handler)
    async with open_stage(server) as stage:
        (final,) = await stage.peer.responses(await stage.ask(service, NOT_DECODED[case]))
        assert (final.status, final.data, handler.requests) == (RAISED[service] - 1, None, [])
        assert final.comment
        await stage.nothing_more()


@pytest.mark.parametrize("priority", [0, 1, 2])
async def test_sub_operations_of_a_get(priority: int) -> None:
    """Own message IDs, the request's priority, and no Move Originator."""
    server, handler = make_server(), script("C-GET", 3, *images(3))
    register(server, "C-GET", handler)
    async with open_stage(server) as stage:
        rq = wire.get_rq(message_id=65535, priority=priority)
        await stage.peer.responses(await stage.peer.request(GET, rq, IDENTIFIER), store=0)
        stored = stage.peer.stored
        assert len({message.message_id for message in stored}) == 3
        for message in stored:
            assert (message.context_id, message.sop_class) == (CT, CT_UID)
            assert message.number(wire.PRIORITY) == priority
            assert not {wire.ORIGINATOR_TITLE, wire.ORIGINATOR_ID} & set(message)
        await stage.peer.release()


@pytest.mark.parametrize("priority", [0, 1, 2])
async def test_sub_operations_of_a_move(priority: int) -> None:
    """Called AE title the destination's, calling the server's; Move Originator who asked and by which message."""
    server, handler, destination = make_server(), script("C-MOVE", 2, *images(2)), Destination()
    register(server, "C-MOVE", handler)
    async with open_destination(destination) as handler.port:
        async with open_stage(server, calling="ASKER") as stage:
            rq = wire.move_rq("DEST", message_id=4660, priority=priority)
            responses = await stage.peer.responses(await stage.peer.request(MOVE, rq, IDENTIFIER))
            assert responses[-1].status == 0x0000
            await stage.peer.release()
        (request,) = handler.requests
        assert (request.move_destination, request.priority, request.message_id) == ("DEST", priority, 4660)
        (asked,) = destination.asked
        assert (asked.called, asked.calling) == ("DEST", "ARCHIVE")
        assert len(asked.proposed) <= 128
        for message in destination.stored:
            assert message.number(wire.PRIORITY) == priority
            assert (message.text(wire.ORIGINATOR_TITLE), message.number(wire.ORIGINATOR_ID)) == ("ASKER", 4660)
        assert len(destination.stored) == 2


async def test_a_destination_with_a_title_of_its_own() -> None:
    step = Do(lambda script: aiodimse.Destination(HOST, script.port, ae_title="STORAGE"))
    played = await play("C-MOVE", Script(step, 1, image(1)))
    assert [asked.called for asked in played.destination.asked] == ["STORAGE"]


@pytest.mark.parametrize("calling", ["B\u00c4R", "A\\B", ""])
async def test_a_caller_with_a_title_that_is_none(calling: str) -> None:
    """A command set cannot hold it: Move Originator is left out, and the instances go."""
    played = await play("C-MOVE", script("C-MOVE", 1, image(1)), calling=calling)
    check_retrieve(played, "C-MOVE", 1, 0x0000, (None, 1, 0, 0))
    assert wire.ORIGINATOR_TITLE not in played.stored[0]
