"""What makes it easy to ask: the SOP class left out, Identifiers from keywords, contexts for what may be sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class, testing

STUDY_FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
PATIENT_FIND = sop_class.PatientRootQueryRetrieveInformationModelFind
STUDY_GET = sop_class.StudyRootQueryRetrieveInformationModelGet
STUDY_MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
WORKLIST = sop_class.ModalityWorklistInformationModelFind
CT, MR = sop_class.CTImageStorage, sop_class.MRImageStorage
EXPLICIT = "1.2.840.10008.1.2.1"


def archive() -> tuple[aiodimse.Server, list[str]]:
    server, asked = aiodimse.Server(ae_title="PACS"), []

    async def nothing(request: Any) -> AsyncIterator[Any]:
        asked.append(request.sop_class_uid)
        for none in ():
            yield none

    async def none_of_them(request: Any) -> AsyncIterator[Any]:
        asked.append(request.sop_class_uid)
        if isinstance(request, aiodimse.MoveRequest):
            yield aiodimse.Destination("memory", 1)
        yield 0

    server.on_c_find(nothing)
    server.on_c_find(WORKLIST)(nothing)
    server.on_c_get(none_of_them)
    server.on_c_move(none_of_them)
    return server, asked


async def test_the_sop_class_may_be_left_out() -> None:
    server, asked = archive()
    contexts = [sop_class.Verification, STUDY_FIND, STUDY_GET, STUDY_MOVE]
    async with testing.joined(server, contexts=contexts) as association:
        assert await association.c_find(Dataset()).collect() == []
        await association.c_get(Dataset())
        await association.c_move(Dataset(), destination="DEST")
    assert asked == [STUDY_FIND, STUDY_GET, STUDY_MOVE]


async def test_which_of_several_is_not_guessed() -> None:
    server, asked = archive()
    async with testing.joined(server, contexts=[STUDY_FIND, WORKLIST]) as association:
        matches = association.c_find(Dataset())
        with pytest.raises(aiodimse.LocalProtocolError, match=r"StudyRoot.*ModalityWorklist"):
            await matches
        with pytest.raises(aiodimse.NoAcceptedContext):
            await association.c_move(Dataset(), destination="DEST")
        await association.c_find(Dataset(), WORKLIST)
    assert asked == [WORKLIST]


async def test_what_was_refused_is_none_of_several() -> None:
    server, asked = aiodimse.Server(ae_title="PACS"), []

    @server.on_c_find(PATIENT_FIND)
    async def find(request: aiodimse.FindRequest) -> int:
        asked.append(request.sop_class_uid)
        return 0x0000

    async with testing.joined(server, contexts=[STUDY_FIND, PATIENT_FIND]) as association:
        await association.c_find(Dataset())
    assert asked == [PATIENT_FIND]


def test_an_identifier_from_keywords() -> None:
    made = aiodimse.identifier(
        "study",
        PatientID="42",
        StudyInstanceUID=None,
        ModalitiesInStudy=["CT", "MR"],
        StudyDate=date(2024, 1, 31),
        StudyTime=time(8, 5),
        PatientName="Müller^Jürgen",
    )
    assert (made.QueryRetrieveLevel, made.PatientID) == ("STUDY", "42")
    assert made["StudyInstanceUID"].is_empty
    assert list(made.ModalitiesInStudy) == ["CT", "MR"]
    assert (made.StudyDate, made.StudyTime) == ("20240131", "080500.000000")
    assert made.SpecificCharacterSet == "ISO_IR 192"
    assert "SpecificCharacterSet" not in aiodimse.identifier("PATIENT", PatientName="A*")
    step = aiodimse.identifier(None, Modality="CT")
    worklist = aiodimse.identifier(PatientName=None, ScheduledProcedureStepSequence=[step])
    assert "QueryRetrieveLevel" not in worklist
    assert worklist.ScheduledProcedureStepSequence[0].Modality == "CT"


@pytest.mark.parametrize("wrong", [{"PatientsName": "A"}, {"patient_id": "1"}, {"ScheduledProcedureStepSequence": 7}])
def test_what_is_no_key(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        aiodimse.identifier("STUDY", **wrong)


def test_what_an_identifier_says_of_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"no keyword of PS3\.6: PatientNam; did you mean PatientName\?"):
        aiodimse.identifier("STUDY", PatientNam="A*")
    with pytest.raises(ValueError, match=r"not a Query/Retrieve Level \(PATIENT, .*'STUDI'"):
        aiodimse.identifier("STUDI")
    for text in ("2024-01-31", "2024-01-01-2024-01-31"):
        with pytest.raises(ValueError, match="StudyDate: a date is written YYYYMMDD") as caught:
            aiodimse.identifier("STUDY", StudyDate=text)
        assert "2024" not in str(caught.value)  # a date may be that of a patient
    assert aiodimse.identifier("FRAME", StudyDate="20240101-20240131").StudyDate == "20240101-20240131"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("uids", [None, [CT, MR], list(sop_class.STORAGE)], ids=["all", "two", "very many"])
def test_storage_contexts_fit(uids: Any, compressed: bool) -> None:
    contexts = aiodimse.storage_contexts(uids, compressed=compressed)
    assert 0 < len(contexts) <= 128
    assert len({(context.uid, tuple(context.transfer_syntaxes)) for context in contexts}) == len(contexts)
    each = Counter(context.uid for context in contexts)
    assert (each[CT] > 1) is (compressed and (uids is None or len(uids) == 2))
    aiodimse.connect("localhost", 104, contexts=contexts)


def test_storage_contexts_for_what_is_no_uid() -> None:
    with pytest.raises(aiodimse.LocalProtocolError):
        aiodimse.storage_contexts(["CTImageStorage"])
    with pytest.raises(TypeError, match="several"):
        aiodimse.storage_contexts(CT)


async def test_what_can_be_stored() -> None:
    server = aiodimse.Server(ae_title="PACS")

    @server.on_c_store(CT, transfer_syntaxes=[EXPLICIT])
    async def store(request: aiodimse.StoreRequest) -> int:
        return 0x0000

    ct, mr = (Path(str(get_testdata_file(name))) for name in ("CT_small.dcm", "MR_small.dcm"))
    async with testing.joined(server, contexts=[CT, MR]) as association:
        assert association.can_store(ct)
        assert association.can_store(str(ct))
        assert association.can_store(await aiodimse.Instance.open(ct))
        assert not association.can_store(mr)
        assert association.can_store(aiodimse.Instance(CT, "1.2.3", "1.2.840.10008.1.2.4.50"))  # JPEG, decompressed
        assert not association.can_store(aiodimse.Instance(CT, "1.2.3", "1.2.840.10008.1.2.4.102"))  # a video
        with pytest.raises(TypeError, match="an instance is"):
            association.can_store(7)  # type: ignore[arg-type]
