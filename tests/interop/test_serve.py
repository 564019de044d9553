"""`python -m aiodimse serve` as a process, asked by DCMTK's users, by pynetdicom and by the scripted peer."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from interop import dcmtk, pynetdicom_peers, samples
from interop.dcmtk import StoreSCP
from interop.ours import Serve, keys
from interop.programs import Keeper, Provider
from scripted import wire
from scripted.peer import ScriptedPeer

ALL_STUDIES = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}


def _filled(folder: Path, destinations: dict[str, int]) -> Serve:
    archive = folder / "archive"
    archive.mkdir()
    for sample in samples.JOURNEY:
        shutil.copy(sample.path, archive)
    (archive / "notes.txt").write_text("not DICOM", encoding="ascii")
    return Serve(folder, destinations)


_filled.__name__ = "serve"


@pytest.fixture(scope="module")
def serve(session_keeper: Keeper, move_target_port: int) -> Provider:
    """A serve over the samples of JOURNEY and one file that is no DICOM; it knows DEST."""
    return session_keeper.start(_filled, {"DEST": move_target_port})


@pytest.fixture
def empty(keeper: Keeper) -> Serve:
    return keeper.start(Serve)


async def test_echoscu_and_the_called_title(serve: Serve) -> None:
    assert (await dcmtk.echoscu(serve.port, called=serve.title, code=0)).final.status == 0x0000
    refused = await dcmtk.echoscu(serve.port, called="SOMEBODY", code=1)
    assert "Called AE Title Not Recognized" in str(refused)
    assert "Rejected Permanent, Source: Service User" in str(refused)


async def test_it_says_what_it_skipped(serve: Serve) -> None:
    await dcmtk.echoscu(serve.port, called=serve.title, code=0)
    assert f"{len(samples.JOURNEY)}" in serve.output
    assert "skipp" in serve.output.lower()


@pytest.mark.parametrize("model", ["-P", "-S", "-O"])
async def test_findscu_at_study_level(serve: Serve, tmp_path: Path, model: str) -> None:
    asked = {**ALL_STUDIES, "NumberOfStudyRelatedInstances": "", "ModalitiesInStudy": "", "PatientID": ""}
    found = await dcmtk.findscu(serve.port, model, asked, tmp_path, called=serve.title, code=0)
    # A missing unique key above the level is a universal key, unless the archive is strict.
    assert found.final.status == 0x0000
    by_study = {ds.StudyInstanceUID: ds for ds in found.datasets()}
    assert by_study.keys() == {sample.study for sample in samples.JOURNEY}
    assert by_study[samples.CT.study].NumberOfStudyRelatedInstances == 1
    assert by_study[samples.CT.study].ModalitiesInStudy == "CT"


@pytest.mark.parametrize("model", ["-P", "-O"])
async def test_findscu_in_patient_models(serve: Serve, tmp_path: Path, model: str) -> None:
    patients = {"QueryRetrieveLevel": "PATIENT", "PatientID": "?CT*", "PatientName": ""}
    found = await dcmtk.findscu(serve.port, model, patients, tmp_path / "p", called=serve.title, code=0)
    assert [ds.PatientID for ds in found.datasets()] == ["1CT1"]
    studies = {"QueryRetrieveLevel": "STUDY", "PatientID": "1CT1", "StudyInstanceUID": ""}
    found = await dcmtk.findscu(serve.port, model, studies, tmp_path / "s", called=serve.title, code=0)
    assert [ds.StudyInstanceUID for ds in found.datasets()] == [samples.CT.study]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"StudyInstanceUID": f"{samples.CT.study}\\{samples.MR.study}"}, {samples.CT, samples.MR}),
        ({"StudyDate": "20040101-20041231"}, {samples.CT, samples.MR, samples.JPEG_2000}),
        ({"StudyDate": "-20040201"}, None),
        ({"ModalitiesInStudy": "MR"}, {samples.MR}),
        ({"PatientName": "compressedsamples^ct1"}, {samples.CT}),
        ({"PatientName": "CompressedSamples*"}, {samples.CT, samples.MR, samples.JPEG_2000}),
        ({"PatientID": "1?T1"}, {samples.CT}),
        ({"PatientID": "nobody"}, set()),
    ],
    ids=["uid-list", "date-range", "open-date-range", "modality", "name", "name-wildcard", "question-mark", "nobody"],
)
async def test_findscu_matches(
    serve: Serve, tmp_path: Path, asked: dict[str, str], expected: set[samples.Sample] | None
) -> None:
    found = await dcmtk.findscu(serve.port, "-S", {**ALL_STUDIES, **asked}, tmp_path, called=serve.title, code=0)
    assert found.final.status == 0x0000
    studies = {ds.StudyInstanceUID for ds in found.datasets()}
    if expected is None:
        assert samples.CT.study in studies
        assert samples.MR.study not in studies
    else:
        assert studies == {sample.study for sample in expected}


@pytest.mark.parametrize(
    ("level", "known"),
    [("SERIES", ("StudyInstanceUID",)), ("IMAGE", ("StudyInstanceUID", "SeriesInstanceUID"))],
)
async def test_findscu_below_the_study(serve: Serve, tmp_path: Path, level: str, known: tuple[str, ...]) -> None:
    asked = {"QueryRetrieveLevel": level, "SeriesInstanceUID": "", "SOPInstanceUID": ""}
    asked.update({key: str(samples.CT.header[key].value) for key in known})
    found = await dcmtk.findscu(serve.port, "-S", asked, tmp_path, called=serve.title, code=0)
    (match,) = found.datasets()
    assert match.SeriesInstanceUID == samples.CT.series
    if level == "IMAGE":
        assert match.SOPInstanceUID == samples.CT.instance


@pytest.mark.parametrize("asked", [{"QueryRetrieveLevel": "FRAME"}, {}], ids=str)
async def test_a_wrong_identifier_is_0xa900_with_the_element(serve: Serve, asked: dict[str, str]) -> None:
    """A wrong level, no level at all."""
    elements = {(0x0020, 0x000E): ("UI", "")}
    if asked:
        elements[0x0008, 0x0052] = ("CS", asked["QueryRetrieveLevel"])
    async with await ScriptedPeer.connect("127.0.0.1", serve.port) as peer:
        await peer.associate([(1, wire.STUDY_ROOT_FIND, [wire.EXPLICIT_LE])], called=serve.title)
        (final,) = await peer.responses(await peer.request(1, wire.find_rq(), wire.dataset(elements)))
        assert final.status == 0xA900
        missing = (0x0020, 0x000D) if asked.get("QueryRetrieveLevel") == "SERIES" else (0x0008, 0x0052)
        assert missing in final.offending
        assert final.comment
        await peer.release()


async def test_getscu_gets_what_is_stored(serve: Serve, tmp_path: Path) -> None:
    for sample in (samples.CT, samples.MR, samples.SR):
        asked = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": sample.study}
        got = await dcmtk.getscu(serve.port, "-S", asked, tmp_path / sample.name, called=serve.title, code=0)
        assert (got.final.status, got.final.completed) == (0x0000, 1)
        (path,) = got.files
        assert samples.data_set_bytes(path) == sample.data


@pytest.mark.parametrize(
    ("level", "known"),
    [
        ("PATIENT", ("PatientID",)),
        ("STUDY", ("PatientID", "StudyInstanceUID")),
        ("SERIES", ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")),
        ("IMAGE", ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")),
    ],
)
async def test_getscu_at_every_level(serve: Serve, tmp_path: Path, level: str, known: tuple[str, ...]) -> None:
    asked = {"QueryRetrieveLevel": level, **{key: str(samples.CT.header[key].value) for key in known}}
    got = await dcmtk.getscu(serve.port, "-P", asked, tmp_path, called=serve.title, code=0)
    assert (got.final.status, got.final.completed, len(got.files)) == (0x0000, 1, 1)


async def test_movescu_moves_everything(keeper: Keeper, storescp: Callable[..., StoreSCP]) -> None:
    target = storescp("+xa", title="TARGET")
    mover = keeper.start(_filled, {"TARGET": target.port})
    for sample in samples.JOURNEY:
        asked = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": sample.study}
        talk = await dcmtk.movescu(mover.port, "-S", asked, "TARGET", called=mover.title, code=0)
        assert (talk.final.status, talk.final.completed, talk.final.failed) == (0x0000, 1, 0), talk
    samples.check_arrived(target.files(), samples.JOURNEY)


async def test_an_unknown_destination_is_0xa801(serve: Serve) -> None:
    asked = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": samples.CT.study}
    talk = await dcmtk.movescu(serve.port, "-S", asked, "NOBODY", called=serve.title)
    assert talk.statuses == [0xA801]


async def test_what_a_destination_takes_in_another_form_is_decompressed(
    keeper: Keeper, storescp: Callable[..., StoreSCP]
) -> None:
    target = storescp(title="PLAIN")
    mover = keeper.start(_filled, {"PLAIN": target.port})
    asked = keys(StudyInstanceUID=samples.JPEG_2000.study)
    results = await asyncio.to_thread(
        pynetdicom_peers.move, mover.port, wire.STUDY_ROOT_MOVE, asked, "PLAIN", called=mover.title
    )
    assert results[-1][0] == 0x0000
    samples.check_pixels(target.files(), [samples.JPEG_2000])


async def test_what_is_stored_is_found_and_fetched_at_once(empty: Serve, tmp_path: Path) -> None:
    for talk in await dcmtk.store_samples(empty.port, samples.JOURNEY, called=empty.title, code=0):
        assert set(talk.statuses) == {0x0000}
    found = await dcmtk.findscu(empty.port, "-S", ALL_STUDIES, tmp_path / "found", called=empty.title, code=0)
    assert {ds.StudyInstanceUID for ds in found.datasets()} == {sample.study for sample in samples.JOURNEY}
    assert len(empty.files()) == len(samples.JOURNEY)
    asked = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": samples.ECG.study}
    none = await dcmtk.getscu(empty.port, "-S", asked, tmp_path / "none", called=empty.title, code=0)
    assert (none.statuses, none.files) == ([0x0000], [])
    asked["StudyInstanceUID"] = samples.JPEG_2000.study
    got = await dcmtk.getscu(empty.port, "-S", asked, tmp_path / "got", "+xw", called=empty.title, code=0)
    assert (got.final.status, len(got.files)) == (0x0000, 1)


@pytest.mark.parametrize("sample", samples.SAMPLES, ids=str)
async def test_bytes_survive_the_folder(empty: Serve, sample: samples.Sample) -> None:
    """Stored and fetched with bytes of our own making: what went in comes out."""
    async with await ScriptedPeer.connect("127.0.0.1", empty.port) as peer:
        await peer.associate([(1, sample.sop_class, [sample.transfer_syntax])], called=empty.title)
        rq = wire.store_rq(sample.sop_class, sample.instance, message_id=1)
        (stored,) = await peer.responses(await peer.request(1, rq, sample.data))
        assert stored.status == 0x0000
        await peer.release()
    (path,) = empty.files()
    assert samples.data_set_bytes(path) == sample.data
    async with await ScriptedPeer.connect("127.0.0.1", empty.port) as peer:
        contexts = [(1, wire.STUDY_ROOT_GET, [wire.EXPLICIT_LE]), (3, sample.sop_class, [sample.transfer_syntax])]
        ac = await peer.associate(contexts, called=empty.title, roles={sample.sop_class: (0, 1)})
        assert ac.roles == {sample.sop_class: (0, 1)}
        identifier = wire.identifier("STUDY", study=((0x0020, 0x000D), "UI", sample.study))
        responses = await peer.responses(await peer.request(1, wire.get_rq(message_id=2), identifier), store=0x0000)
        assert [(r.status, r.counters) for r in responses] == [(0x0000, (None, 1, 0, 0))]
        (sub_operation,) = peer.stored
        assert sub_operation.data in (sample.data, sample.data + b"\0")
        await peer.release()


async def test_sigterm_ends_it_well(empty: Serve) -> None:
    async with await ScriptedPeer.connect("127.0.0.1", empty.port) as peer:
        await peer.associate([(1, wire.VERIFICATION, [wire.IMPLICIT_LE])], called=empty.title)
        empty.process.send_signal(signal.SIGTERM)
        assert await peer.expect_abort() == (0, 0)
        await peer.expect_close()
    assert await asyncio.to_thread(empty.process.wait, 10) == 0, empty.describe()
    assert "Traceback" not in empty.output


async def test_no_patient_data_in_what_it_prints(serve: Serve, tmp_path: Path) -> None:
    asked = {**ALL_STUDIES, "PatientName": "CompressedSamples*"}
    await dcmtk.findscu(serve.port, "-S", asked, tmp_path, called=serve.title, code=0)
    for sample in samples.JOURNEY:
        for value in (str(sample.header.get("PatientName", "")), str(sample.header.get("PatientID", ""))):
            assert len(value) < 4 or value.lower() not in serve.output.lower(), value
    assert "compressedsamples" not in serve.output.lower()
