"""The models without a patient and a study: stored, found by their own keys, retrieved; on every index."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from archive.databases import KINDS, open_index
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import Archive
from aiodimse.archive.one_level import BY_NAME, MODELS, OneLevelModel
from aiodimse.cli import models

HOST = "127.0.0.1"
SERVED = {sop_class.lookup(uid).service_class.name for model in MODELS for uid in (model.find,)} | {"Query/Retrieve"}


def code(value: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", "words"
    return item


def an_object(model: OneLevelModel, number: int, **attributes: object) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = model.storage[number % len(model.storage)]
    dataset.SOPInstanceUID = f"1.2.3.{number}"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


@pytest.fixture(params=KINDS)
async def archive(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Archive]:
    folder = tmp_path / "archive"
    folder.mkdir()
    archive = await Archive.open(folder, index=await open_index(request.param, tmp_path))
    yield archive
    await archive.close()


def asked(**keys: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in keys.items():
        setattr(dataset, keyword, value)
    return dataset


# A key of each model with the value of the first object, what else finds it, and what does not.
KEYS = {
    "hanging-protocol": ("HangingProtocolName", "CT Head", "CT*", "MR*"),
    "generic-implant-template": ("ImplantName", "Hip 7", "*7", "Knee"),
    "implant-assembly-template": ("ImplantAssemblyTemplateName", "Hip", "H?p", "hip"),
    "implant-template-group": ("ImplantTemplateGroupName", "Hips", "Hips", "Knees"),
    "defined-procedure-protocol": ("ProtocolName", "Routine", "Rout*", "Other"),
    "color-palette": ("ContentLabel", "HOT_IRON", "HOT*", "PET"),
    "protocol-approval": ("InstanceCreationDate", "20240102", "20240101-20240103", "2023-"),
    "inventory": ("InventoryLevel", "STUDY", "STUDY", "SERIES"),
}


def test_every_model_is_tested() -> None:
    assert set(KEYS) == set(BY_NAME)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
async def test_stored_found_and_retrieved(model: OneLevelModel, port: int, archive: Archive) -> None:
    keyword, value, found_by, missed_by = KEYS[model.name]
    contexts = [*model.storage, model.find, model.get, model.move]
    one = an_object(model, 1, **{keyword: value})
    async with aiodimse.connect(
        HOST, port, called_ae_title="ARCHIVE", contexts=contexts, storage=model.storage
    ) as peer:
        for dataset in (one, an_object(model, 2)):
            response = await peer.c_store(dataset)
            assert (response.status, response.error_comment) == (0x0000, None)
        everything = await peer.c_find(asked(SOPInstanceUID=""), model.find).collect()
        assert sorted(each.SOPInstanceUID for each in everything) == ["1.2.3.1", "1.2.3.2"]
        wanted = asked(SOPInstanceUID="", QueryRetrieveLevel="IMAGE", **{keyword: found_by})
        (match,) = await peer.c_find(wanted, model.find).collect()
        assert match[keyword].value == value
        assert "QueryRetrieveLevel" not in match
        assert "RetrieveAETitle" not in match
        if missed_by != "2023-":
            assert await peer.c_find(asked(**{keyword: missed_by}), model.find).collect() == []
        (match,) = await peer.c_find(asked(SOPInstanceUID="1.2.3.2", **{keyword: ""}), model.find).collect()
        assert not match[keyword].value
        async with peer.c_get(asked(SOPInstanceUID=["1.2.3.1", "9.9"]), model.get) as retrieval:
            got = [await instance.dataset() async for instance in retrieval]
        assert [each.SOPInstanceUID for each in got] == ["1.2.3.1"]
        final = await peer.c_move(asked(SOPInstanceUID="1.2.3.2"), model.move, destination="ARCHIVE")
        assert (final.status, final.progress.completed) == (0x0000, 1)
        with pytest.raises(aiodimse.DIMSEFailure) as caught:
            (await peer.c_get(asked(**{keyword: value}), model.get)).raise_for_status()
        assert (caught.value.status, caught.value.offending_elements) == (0xA900, (0x00080018,))
    assert (await archive.index.counts()).instances == 2
    assert (await archive.index.counts()).studies == 0
    assert (await archive.scan()).indexed == 2


def test_the_command_line_has_every_model() -> None:
    for model in MODELS:
        row = models.MODELS[model.name]
        assert (row.find, row.get, row.move, row.levels) == (model.find, model.get, model.move, ())


async def test_keys_in_sequences(port: int) -> None:
    model = BY_NAME["hanging-protocol"]
    definition = Dataset()
    definition.Modality, definition.AnatomicRegionSequence = "CT", [code("69536005")]
    one = an_object(model, 1, HangingProtocolDefinitionSequence=[definition])
    inside = Dataset()
    inside.AnatomicRegionSequence = [asked(CodeValue="69536005")]
    other = Dataset()
    other.AnatomicRegionSequence = [asked(CodeValue="1")]
    async with aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[*model.storage, model.find]) as peer:
        await peer.c_store(one)
        (match,) = await peer.c_find(asked(HangingProtocolDefinitionSequence=[inside]), model.find).collect()
        assert match.HangingProtocolDefinitionSequence[0].AnatomicRegionSequence[0].CodeValue == "69536005"
        assert await peer.c_find(asked(HangingProtocolDefinitionSequence=[other]), model.find).collect() == []


async def test_what_is_only_returned_is_not_matched_and_what_is_no_key_is_said(port: int) -> None:
    model = BY_NAME["hanging-protocol"]
    async with aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[*model.storage, model.find]) as peer:
        await peer.c_store(an_object(model, 1, HangingProtocolDescription="HEAD"))
        identifier = asked(HangingProtocolDescription="NECK", PatientName="")
        async with peer.c_find(identifier, model.find) as matches:
            found = [(matches.last_status, match.HangingProtocolDescription) async for match in matches]
        assert found == [(0xFF01, "HEAD")]


async def test_the_items_of_what_is_only_returned_are_all_returned(port: int) -> None:
    model = BY_NAME["color-palette"]
    german = asked(ContentDescription="rot", LanguageCodeSequence=[code("de")])
    french = asked(ContentDescription="rouge", LanguageCodeSequence=[code("fr")])
    async with aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[*model.storage, model.find]) as peer:
        await peer.c_store(an_object(model, 1, AlternateContentDescriptionSequence=[german, french]))
        wanted = asked(ContentDescription="", LanguageCodeSequence=[asked(CodeValue="it")])
        (match,) = await peer.c_find(asked(AlternateContentDescriptionSequence=[wanted]), model.find).collect()
        assert [
            (each.ContentDescription, each.LanguageCodeSequence[0].CodeValue)
            for each in match.AlternateContentDescriptionSequence
        ] == [("rot", "de"), ("rouge", "fr")]


RETURNED_INSIDE = {
    "the meaning of a code": (
        "hanging-protocol",
        "HangingProtocolUserIdentificationCodeSequence",
        ({"CodeValue": "A", "CodeMeaning": "Chest"}, {"CodeValue": "A", "CodeMeaning": "Thorax"}),
    ),
    "a version in a code": (
        "defined-procedure-protocol",
        "AnatomicRegionSequence",
        ({"CodeValue": "A", "CodingSchemeVersion": "1"}, {"CodeValue": "A", "CodingSchemeVersion": "2"}),
    ),
    "a serial number": (
        "defined-procedure-protocol",
        "ModelSpecificationSequence",
        ({"Manufacturer": "A", "DeviceSerialNumber": "1"}, {"Manufacturer": "A", "DeviceSerialNumber": "2"}),
    ),
    "a comment": (
        "protocol-approval",
        "ApprovalSequence",
        ({"AssertionDateTime": "2024", "AssertionComments": "1"}, {"AssertionDateTime": "2024", "AssertionUID": "2"}),
    ),
}


@pytest.mark.parametrize("what", RETURNED_INSIDE)
async def test_what_is_only_returned_inside_a_sequence_is_not_matched(port: int, what: str) -> None:
    name, keyword, (stored, wanted) = RETURNED_INSIDE[what]
    model = BY_NAME[name]
    async with aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[*model.storage, model.find]) as peer:
        await peer.c_store(an_object(model, 1, **{keyword: [asked(**stored)]}))
        (match,) = await peer.c_find(asked(**{keyword: [asked(**wanted)]}), model.find).collect()
        (item,) = match[keyword].value
        assert {name: str(item[name].value or "") for name in wanted} == {name: stored.get(name, "") for name in wanted}
        other = asked(**{keyword: [asked(**dict.fromkeys(list(wanted)[:1], "1999"))]})
        assert await peer.c_find(other, model.find).collect() == []


async def test_dates_and_times_are_combined(port: int) -> None:
    model = BY_NAME["protocol-approval"]
    async with aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[*model.storage, model.find]) as peer:
        await peer.c_store(an_object(model, 1, InstanceCreationDate="20240102", InstanceCreationTime="0900"))
        identifier = asked(InstanceCreationDate="20240101-20240103", InstanceCreationTime="10-11")
        assert len(await peer.c_find(identifier, model.find).collect()) == 1


async def test_an_object_of_no_study_is_not_found_in_one(port: int) -> None:
    model = BY_NAME["hanging-protocol"]
    root = sop_class.StudyRootQueryRetrieveInformationModelFind
    async with aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[*model.storage, root]) as peer:
        await peer.c_store(an_object(model, 1))
        for uid in ("1.2.3.1", ""):
            assert await peer.c_find(asked(QueryRetrieveLevel="IMAGE", SOPInstanceUID=uid), root).collect() == []


def _operations(model: OneLevelModel) -> tuple[str, str, str]:
    return model.find, model.get, model.move


async def test_the_classes_of_the_seeds_and_ten_more_are_accepted(port: int) -> None:
    with (Path(__file__).parent.parent / "data" / "standard" / "qr_sop_classes.csv").open(encoding="utf-8") as file:
        seeds = [row["uid"] for row in csv.DictReader(file) if row["named_in_seeds"] == "yes"]
    more = [str(uid) for name in ("color-palette", "protocol-approval") for uid in _operations(BY_NAME[name])] + [
        str(uid)
        for uid in (
            sop_class.RepositoryQuery,
            sop_class.StorageCommitmentPushModel,
            sop_class.Verification,
            sop_class.InventoryStorage,
        )
    ]
    assert (len(seeds), len(set(more) - set(seeds))) == (30, 10)
    contexts = [aiodimse.PresentationContext(uid) for uid in (*seeds, *more)]
    async with aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=contexts, storage=[]) as peer:
        accepted = {context.abstract_syntax for context in peer.negotiated.contexts.values()}
    assert accepted == {*seeds, *more}


async def test_all_models_are_accepted(port: int) -> None:
    """Those of Query/Retrieve, and of each model of one level."""
    rows = [row for row in sop_class.known() if row.service_class.name in SERVED]
    wanted = [str(row) for row in rows if row.commands & {"C-FIND", "C-GET", "C-MOVE"}]
    async with aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=wanted) as peer:
        accepted = {context.abstract_syntax for context in peer.negotiated.contexts.values()}
    assert set(wanted) - accepted == set()
    assert len(accepted) >= 40
