"""examples/worklist: what modalities and archives say to it, and what it keeps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from examples.readme import EXAMPLES, changed, commands, ended, started
from interop.dcmtk import findscu
from ports import free_port
from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE
from sqlalchemy import create_engine, text
from worklist.service import AVAILABILITY, MPPS, WORKLIST, server
from worklist.tables import STEPS, Tables

import aiodimse

HOST = "127.0.0.1"


def row(number: int, **more: str) -> dict[str, str]:
    """A scheduled step."""
    return {
        "PatientName": "Doe^Jane",
        "PatientID": f"P{number}",
        "AccessionNumber": f"A{number}",
        "StudyInstanceUID": f"1.2.{number}",
        "ScheduledProcedureStepID": f"S{number}",
        "ScheduledProcedureStepStartDate": "20240102",
        "ScheduledProcedureStepStartTime": "0800",
        "ScheduledStationAETitle": "CT1",
        "Modality": "CT",
        "ScheduledProcedureStepStatus": "SCHEDULED",
        **more,
    }


def step(number: int, **more: Any) -> Dataset:
    """What a modality says when it begins."""
    item = aiodimse.identifier(None, StudyInstanceUID=f"1.2.{number}", ScheduledProcedureStepID=f"S{number}")
    keywords = {
        "ScheduledStepAttributesSequence": [item],
        "PatientName": "Doe^Jane",
        "PerformedProcedureStepID": "1",
        "PerformedStationAETitle": "CT1",
        "PerformedProcedureStepStartDate": "20240102",
        "PerformedProcedureStepStartTime": "0810",
        "PerformedProcedureStepStatus": "IN PROGRESS",
        "Modality": "CT",
        **more,
    }
    return aiodimse.identifier(None, **{keyword: value for keyword, value in keywords.items() if value is not None})


def ending(status: str = "COMPLETED", **more: Any) -> Dataset:
    keywords = {
        "PerformedProcedureStepStatus": status,
        "PerformedProcedureStepEndDate": "20240102",
        "PerformedProcedureStepEndTime": "0830",
        "PerformedSeriesSequence": [aiodimse.identifier(None, SeriesInstanceUID="1.2.3.4")],
        **more,
    }
    return aiodimse.identifier(None, **{keyword: value for keyword, value in keywords.items() if value is not None})


@asynccontextmanager
async def running(folder: Path, *rows: dict[str, str]) -> AsyncIterator[aiodimse.Listening]:
    tables = Tables(f"sqlite:///{folder / 'ris.db'}")
    tables.add(rows)
    try:
        async with server("RIS", tables).listen(HOST, 0) as listening:
            yield listening
    finally:
        tables.close()


def connect(listening: aiodimse.Listening, ae_title: str = "CT1") -> Any:
    contexts = [WORKLIST, MPPS, AVAILABILITY]
    return aiodimse.connect(HOST, listening.port, ae_title=ae_title, called_ae_title="RIS", contexts=contexts)


async def scheduled(association: aiodimse.Association, **of_step: str) -> dict[str, str]:
    """Patients on the worklist, and the status of their steps."""
    item = aiodimse.identifier(None, **{"ScheduledProcedureStepStatus": "", **of_step})
    keys = aiodimse.identifier(None, **{"PatientID": "", STEPS: [item]})
    matches = await association.c_find(keys, WORKLIST).collect()
    return {match.PatientID: match[STEPS].value[0].ScheduledProcedureStepStatus for match in matches}


# --- the worklist -----------------------------------------------------------------------------------------------------


async def test_the_worklist_is_matched_as_the_standard_says(tmp_path: Path) -> None:
    rows = (
        row(1),
        row(2, Modality="MR"),
        row(3, ScheduledProcedureStepStartDate="20240105"),
        row(4, PatientName="Roe"),
    )
    async with running(tmp_path, *rows) as listening, connect(listening) as association:
        assert await scheduled(association) == dict.fromkeys(("P1", "P2", "P3", "P4"), "SCHEDULED")
        assert (await scheduled(association, Modality="CT")).keys() == {"P1", "P3", "P4"}
        dates = "20240103-20240110"
        assert (await scheduled(association, ScheduledProcedureStepStartDate=dates)).keys() == {"P3"}
        keys = aiodimse.identifier(None, PatientName="doe*", PatientID="", AccessionNumber="", RequestedProcedureID="")
        matches = await association.c_find(keys, WORKLIST).collect()
    assert [match.AccessionNumber for match in matches] == ["A1", "A2", "A3"]
    assert matches[0].RequestedProcedureID == ""


async def test_keys_that_it_does_not_have(tmp_path: Path) -> None:
    async with running(tmp_path, row(1)) as listening, connect(listening) as association:
        find = association.c_find(aiodimse.identifier(None, PatientID="", StudyDescription="x"), WORKLIST)
        assert [match.PatientID async for match in find] == ["P1"]
        with pytest.raises(aiodimse.DIMSEFailure) as caught:
            await scheduled(association, ScheduledProcedureStepStartDate="soon")
    assert caught.value.status == 0xA900


# --- performed procedure steps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", ["COMPLETED", "DISCONTINUED"])
async def test_a_step_from_its_beginning_to_its_end(tmp_path: Path, last: str) -> None:
    uid = generate_uid()
    async with running(tmp_path, row(1), row(2)) as listening, connect(listening) as association:
        assert (await association.n_create(MPPS, uid, step(1))).status == 0x0000
        assert await scheduled(association) == {"P1": "STARTED", "P2": "SCHEDULED"}
        change = aiodimse.identifier(None, PerformedProcedureStepDescription="knee")
        assert (await association.n_set(MPPS, uid, change)).status == 0x0000
        assert (await association.n_set(MPPS, uid, ending(last))).status == 0x0000
        assert await scheduled(association) == {"P2": "SCHEDULED"}
        response = await association.n_set(MPPS, uid, change)
        assert (response.status, response.error_id) == (0x0110, 0xA710)
    async with running(tmp_path) as listening, connect(listening) as association:  # it is in the database
        assert (await association.n_set(MPPS, uid, change)).error_id == 0xA710
        assert (await association.n_create(MPPS, uid, step(1))).status == 0x0111


@pytest.mark.parametrize(
    ("more", "status", "element"),
    [
        ({"PerformedProcedureStepStatus": "COMPLETED"}, 0x0106, 0x00400252),
        ({"PerformedProcedureStepStatus": None}, 0x0120, 0x00400252),
        ({"Modality": ""}, 0x0121, 0x00080060),
        ({"ScheduledStepAttributesSequence": []}, 0x0121, 0x00400270),
        ({"ScheduledStepAttributesSequence": [Dataset()]}, 0x0121, 0x00400270),
    ],
)
async def test_a_step_that_may_not_begin(tmp_path: Path, more: dict[str, Any], status: int, element: int) -> None:
    async with running(tmp_path, row(1)) as listening, connect(listening) as association:
        response = await association.n_create(MPPS, generate_uid(), step(1, **more))
        assert (response.status, response.offending_elements) == (status, (element,))
        assert await scheduled(association) == {"P1": "SCHEDULED"}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (ending("PAUSED"), 0x0106),
        (ending(PerformedProcedureStepEndDate=None), 0x0120),
        (ending("DISCONTINUED", PerformedSeriesSequence=[]), 0x0121),
        (aiodimse.identifier(None, PatientID="other"), 0x0105),
    ],
)
async def test_a_change_that_is_refused_changes_nothing(tmp_path: Path, change: Dataset, status: int) -> None:
    uid = generate_uid()
    async with running(tmp_path, row(1)) as listening, connect(listening) as association:
        await association.n_create(MPPS, uid, step(1))
        assert (await association.n_set(MPPS, uid, change)).status == status
        assert await scheduled(association) == {"P1": "STARTED"}
        assert (await association.n_set(MPPS, uid, ending())).status == 0x0000


async def test_a_step_that_is_not_there(tmp_path: Path) -> None:
    async with running(tmp_path) as listening, connect(listening) as association:
        assert (await association.n_set(MPPS, generate_uid(), ending())).status == 0x0112


async def test_changes_at_once_are_all_kept(tmp_path: Path) -> None:
    uid = generate_uid()
    changes = [
        aiodimse.identifier(None, PerformedProcedureStepDescription="knee"),
        aiodimse.identifier(None, CommentsOnThePerformedProcedureStep="quick"),
        aiodimse.identifier(None, PerformedLocation="room 1"),
    ]
    async with (
        running(tmp_path, row(1)) as listening,
        connect(listening) as one,
        connect(listening) as two,
        connect(listening) as three,
    ):
        await one.n_create(MPPS, uid, step(1))
        sets = (each.n_set(MPPS, uid, change) for each, change in zip((one, two, three), changes, strict=True))
        assert [response.status for response in await asyncio.gather(*sets)] == [0, 0, 0]
    kept = Tables(f"sqlite:///{tmp_path / 'ris.db'}")
    found = kept.read(uid)
    kept.close()
    assert found is not None
    content = Dataset.from_json(found[1])
    assert (content.PerformedProcedureStepDescription, content.PerformedLocation) == ("knee", "room 1")
    assert content.CommentsOnThePerformedProcedureStep == "quick"


async def test_a_change_in_another_character_set(tmp_path: Path) -> None:
    uid, latin, greek = generate_uid(), step(1), Dataset()
    latin.SpecificCharacterSet, latin.PatientName = "ISO_IR 100", "Müller"
    greek.SpecificCharacterSet, greek.PerformedProcedureStepDescription = "ISO_IR 126", "γόνατο"
    async with running(tmp_path, row(1)) as listening, connect(listening) as association:
        await association.n_create(MPPS, uid, latin)
        assert (await association.n_set(MPPS, uid, greek)).status == 0x0000
    kept = Tables(f"sqlite:///{tmp_path / 'ris.db'}")
    found = kept.read(uid)
    kept.close()
    assert found is not None
    content = Dataset.from_json(found[1])
    assert (content.PatientName, content.PerformedProcedureStepDescription) == ("Müller", "γόνατο")
    assert content.SpecificCharacterSet == "ISO_IR 100"  # F.7.2.2.3: it is not replaced


# --- instance availability --------------------------------------------------------------------------------------------


def notification(availability: str = "ONLINE") -> Dataset:
    instances = [
        aiodimse.identifier(
            None,
            ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2",
            ReferencedSOPInstanceUID=f"1.2.3.{number}",
            InstanceAvailability=availability,
            RetrieveAETitle="ARCHIVE",
        )
        for number in range(2)
    ]
    series = aiodimse.identifier(None, SeriesInstanceUID="1.2.3", ReferencedSOPSequence=instances)
    return aiodimse.identifier(
        None, StudyInstanceUID="1.2.1", ReferencedPerformedProcedureStepSequence=[], ReferencedSeriesSequence=[series]
    )


async def test_what_the_archive_says_of_instances_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path) as listening, connect(listening, "ARCHIVE") as association:
        for each in (notification(), notification("NEARLINE")):
            assert (await association.n_create(AVAILABILITY, generate_uid(), each)).status == 0x0000
        wrong = notification()
        del wrong.ReferencedSeriesSequence[0].ReferencedSOPSequence[1].RetrieveAETitle
        assert (await association.n_create(AVAILABILITY, generate_uid(), wrong)).status == 0x0120
    engine = create_engine(f"sqlite:///{tmp_path / 'ris.db'}")
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM available ORDER BY 1")).fetchall()
    engine.dispose()
    assert rows == [(f"1.2.3.{number}", "1.2.1", "NEARLINE", "ARCHIVE") for number in range(2)]


# --- strangers, and the program ---------------------------------------------------------------------------------------


@pytest.mark.interop
async def test_a_modality_of_others(tmp_path: Path) -> None:
    """findscu asks for the worklist; pynetdicom begins and ends a step."""
    async with running(tmp_path, row(1), row(2, Modality="MR")) as listening:
        keys = {"PatientID": "", f"{STEPS}[0].Modality": "CT", f"{STEPS}[0].ScheduledProcedureStepID": ""}
        talk = await findscu(listening.port, "-W", keys, tmp_path / "found", called="RIS", code=0)
        (match,) = talk.datasets()
        assert (match.PatientID, match[STEPS].value[0].ScheduledProcedureStepID) == ("P1", "S1")

        def modality() -> list[int]:
            ae, uid = AE("CT1"), generate_uid()
            ae.add_requested_context(MPPS)
            association = ae.associate(HOST, listening.port, ae_title="RIS")
            try:
                created, _ = association.send_n_create(step(1), MPPS, uid)
                ended, _ = association.send_n_set(ending(), MPPS, uid)
                late, _ = association.send_n_set(ending(), MPPS, uid)
            finally:
                association.release()
            return [created.Status, ended.Status, late.Status, late.ErrorID]

        assert await asyncio.to_thread(modality) == [0x0000, 0x0000, 0x0110, 0xA710]


async def test_mistakes_are_told_in_a_line(tmp_path: Path) -> None:
    """And without what is in the steps."""
    (tmp_path / "step.json").write_text(json.dumps(row(1)), encoding="utf-8")
    async with aiodimse.Server(ae_title="OTHER").listen(HOST, 0) as taken:
        text = (EXAMPLES / "worklist" / "worklist.toml").read_text(encoding="utf-8")
        (tmp_path / "worklist.toml").write_text(changed(text, {"11112": taken.port}), encoding="utf-8")
        command = "python -m worklist worklist.toml"
        assert await ended(f"{command} add step.json", tmp_path) == (0, "")
        usage = "usage: python -m worklist FILE.toml [add STEP.json ...]\n"
        for words, said in (
            ("add step.json", "UNIQUE constraint failed: "),
            ("add missing.json", "No such file"),
            ("add worklist.toml", "Expecting value"),
            ("ad step.json", usage),
            ("add", usage),
            ("", "address already in use"),
        ):
            code, out = await ended(f"{command} {words}", tmp_path)
            assert (code, said in out, out.count("\n"), "Doe" in out) == (1, True, 1, False), out


async def test_the_commands_of_the_readme(tmp_path: Path) -> None:
    port = free_port()
    configuration = tmp_path / "worklist.toml"
    text = (EXAMPLES / "worklist" / "worklist.toml").read_text(encoding="utf-8")
    configuration.write_text(text.replace("11112", str(port)), encoding="utf-8")
    instead = {
        "worklist/worklist.toml": configuration,
        "worklist/step.json": EXAMPLES / "worklist" / "step.json",
        "11112": port,
    }
    _, _, _, add, serve, find = (changed(line, instead) for line in commands("worklist"))
    assert await ended(add, tmp_path) == (0, "")
    async with started(serve, tmp_path) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == f"RIS listens on port {port}\n".encode()
        code, out = await ended(find, tmp_path)
        assert (code, "Doe^Jane" in out, "1 match" in out) == (0, True, True), out
        process.terminate()
        await process.communicate()
        assert process.returncode == 0
