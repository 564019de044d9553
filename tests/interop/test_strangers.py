"""The harness proven on the strangers among themselves: what they do here is what they do without us.

When one of these fails, suspect the machine or the harness, not aiodimse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from interop import dcmtk, pynetdicom_peers, samples, wireshark
from interop.dcmtk import DcmQRSCP, StoreSCP
from interop.orthanc import Orthanc
from interop.programs import need, run, wait_for_port
from pydicom.dataset import Dataset
from scripted import wire
from scripted.peer import ScriptedListener, ScriptedPeer

CAPTURES = sorted((Path(__file__).parent.parent / "data" / "captures").glob("*.dul"))


def test_a_missing_program_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"no-such-program is not installed; as root: \.ci/peers"):
        need("no-such-program")
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match=r"\.ci/peers"):
        need("no-such-program")


async def test_a_program_that_does_not_end_is_killed() -> None:
    with pytest.raises(AssertionError, match=r"not finished after 0\.05 s"):
        await run("cat", "/dev/zero", patience=0.05)


async def test_every_sample_is_stored_as_it_is(storescp: Callable[..., StoreSCP]) -> None:
    scp = storescp("+xa")
    wait_for_port(scp.port, scp)
    for sample in samples.SAMPLES:
        talk = await dcmtk.storescu(scp.port, [sample.path], sample.dcmtk, code=0)
        assert talk.statuses == [0x0000], sample
        (path,) = (p for p in scp.files() if p.name.endswith(sample.instance))
        assert samples.content(path) == samples.content(sample.path), sample
        path.unlink()


async def test_findscu_and_getscu_read_dcmqrscp(filled_dcmqrscp: DcmQRSCP, tmp_path: Path) -> None:
    port, called = filled_dcmqrscp.port, filled_dcmqrscp.title
    assert (await dcmtk.echoscu(port, called=called, code=0)).final.status == 0x0000
    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "", "PatientID": "*"}
    found = await dcmtk.findscu(port, "-S", keys, tmp_path / "find", called=called, code=0)
    assert found.statuses == [0xFF00] * len(samples.PLAIN) + [0x0000]
    assert {ds.StudyInstanceUID for ds in found.datasets()} == {sample.study for sample in samples.PLAIN}
    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": samples.CT.study}
    got = await dcmtk.getscu(port, "-S", keys, tmp_path / "get", called=called, code=0)
    assert (got.final.status, got.final.completed, len(got.files)) == (0x0000, 1, 1)
    assert samples.content(got.files[0]) == samples.content(samples.CT.path)


async def test_movescu_sends_dcmqrscp_to_storescp(
    storescp: Callable[..., StoreSCP], dcmqrscp: Callable[..., DcmQRSCP]
) -> None:
    target = storescp(title="DEST")
    archive = dcmqrscp(destinations={"DEST": target.port})
    await dcmtk.store_samples(archive.port, samples.PLAIN, called=archive.title, code=0)
    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": samples.MR.study}
    talk = await dcmtk.movescu(archive.port, "-S", keys, "DEST", called=archive.title, code=0)
    assert (talk.final.status, talk.final.completed, talk.final.failed) == (0x0000, 1, 0)
    (path,) = target.files()
    assert samples.content(path) == samples.content(samples.MR.path)


async def test_orthanc_finds_what_was_stored(orthanc: Orthanc, tmp_path: Path) -> None:
    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}
    found = await dcmtk.findscu(orthanc.port, "-S", keys, tmp_path, called=orthanc.title, code=0)
    assert {ds.StudyInstanceUID for ds in found.datasets()} == {sample.study for sample in samples.JOURNEY}


async def test_pynetdicom_both_ways(netdicom: Callable[..., Any], storescp: Callable[..., StoreSCP]) -> None:
    target = storescp("+xa", title="DEST")
    paths = [sample.path for sample in samples.JOURNEY]
    scp = netdicom(
        paths,
        destinations={"DEST": target.port},
        query=[wire.STUDY_ROOT_FIND],
        retrieve=[wire.STUDY_ROOT_GET, wire.STUDY_ROOT_MOVE],
    )
    in_thread = asyncio.to_thread
    assert await in_thread(pynetdicom_peers.echo, scp.port) == 0x0000
    assert await in_thread(pynetdicom_peers.store, scp.port, paths) == [0x0000] * len(paths)
    assert scp.received.keys() == {sample.instance for sample in samples.JOURNEY}
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", ""
    found = await in_thread(pynetdicom_peers.find, scp.port, wire.STUDY_ROOT_FIND, identifier)
    assert [status for status, _ in found] == [0xFF00] * len(paths) + [0x0000]
    storage = {sample.sop_class: [sample.transfer_syntax] for sample in samples.JOURNEY}
    results, received = await in_thread(pynetdicom_peers.get, scp.port, wire.STUDY_ROOT_GET, identifier, storage)
    assert results[-1][0] in (0x0000, 0xB000)
    assert samples.CT.instance in received
    moved = await in_thread(pynetdicom_peers.move, scp.port, wire.STUDY_ROOT_MOVE, identifier, "DEST")
    assert moved[-1][0] == 0x0000
    assert len(target.files()) == len(paths)
    unknown = await in_thread(pynetdicom_peers.move, scp.port, wire.STUDY_ROOT_MOVE, identifier, "NOBODY")
    assert unknown[-1][0] == 0xA801


async def test_the_scripted_peer_is_understood_by_storescp(storescp: Callable[..., StoreSCP]) -> None:
    scp = storescp()
    async with await ScriptedPeer.connect("127.0.0.1", scp.port) as peer:
        contexts = [(1, wire.VERIFICATION, [wire.IMPLICIT_LE]), (3, wire.CT_IMAGE_STORAGE, [wire.EXPLICIT_LE])]
        ac = await peer.associate(contexts)
        assert ac.accepted == {1: wire.IMPLICIT_LE, 3: wire.EXPLICIT_LE}
        (echoed,) = await peer.responses(await peer.request(1, wire.echo_rq(7)))
        assert echoed.status == 0x0000
        rq = wire.store_rq(wire.CT_IMAGE_STORAGE, samples.CT.instance, message_id=8)
        (stored,) = await peer.responses(await peer.request(3, rq, samples.CT.data))
        assert (stored.status, stored.instance) == (0x0000, samples.CT.instance)
        await peer.release()
    (path,) = scp.files()
    assert samples.data_set_bytes(path) == samples.CT.data


async def test_the_scripted_peer_serves_pynetdicom_and_findscu(tmp_path: Path) -> None:
    match = wire.identifier("STUDY", study=((0x0020, 0x000D), "UI", "1.2.3"))

    async def serve(listener: ScriptedListener) -> None:
        peer = await listener.accept()
        await peer.accept([(1, 0, wire.EXPLICIT_LE)])
        request = await peer.read_message()
        assert (request.sop_class, request.data is not None) == (wire.STUDY_ROOT_FIND, True)
        await peer.respond(request, 0xFF00, data=match)
        await peer.respond(request, 0xC001, {wire.ERROR_COMMENT: "no more"})
        await peer.expect_release()

    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", ""
    async with await ScriptedListener.open() as listener:
        _, talk = await asyncio.gather(serve(listener), dcmtk.findscu(listener.port, "-S", keys, tmp_path))
        assert talk.statuses == [0xFF00, 0xC001]
        assert [ds.StudyInstanceUID for ds in talk.datasets()] == ["1.2.3"]
        _, results = await asyncio.gather(
            serve(listener),
            asyncio.to_thread(pynetdicom_peers.find, listener.port, wire.STUDY_ROOT_FIND, identifier),
        )
        assert [status for status, _ in results] == [0xFF00, 0xC001]


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
async def test_tshark_reads_the_captures(capture: Path, tmp_path: Path) -> None:
    conversation = wireshark.read_dul(capture)
    judged = await wireshark.judge(conversation, tmp_path)
    assert judged.pdus == [data[0] for _, data in conversation]
    assert judged.malformed == []


async def test_tshark_complains_about_what_is_wrong(tmp_path: Path) -> None:
    broken = wire.associate_rq([(1, wire.VERIFICATION, [wire.IMPLICIT_LE])])
    broken = broken.replace(b"\x40\0\0\x11", b"\x40\0\x0f\xff")
    judged = await wireshark.judge([(">", broken)], tmp_path)
    assert judged.malformed, judged.text


async def test_the_tap_records_what_passes(storescp: Callable[..., StoreSCP], tmp_path: Path) -> None:
    scp = storescp()
    async with wireshark.Tap(scp.port) as tap:
        await dcmtk.echoscu(tap.port, code=0)
        (conversation,) = tap.conversations
        judged = await wireshark.judge(conversation, tmp_path)
        assert (judged.pdus, judged.malformed) == ([1, 2, 4, 4, 5, 6], [])
