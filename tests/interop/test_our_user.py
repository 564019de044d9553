"""aiodimse.connect against storescp, dcmqrscp and Orthanc."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from interop import samples
from interop.dcmtk import DcmQRSCP, StoreSCP
from interop.orthanc import Orthanc
from interop.ours import HOST, HandlerArchive, keys
from interop.programs import Provider

import aiodimse
from aiodimse import sop_class
from aiodimse.standard import transfer_syntax

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove


@pytest.fixture(params=["dcmqrscp", "orthanc"])
def archive(request: pytest.FixtureRequest) -> Provider:
    """Each of the two archives, filled."""
    name = "filled_dcmqrscp" if request.param == "dcmqrscp" else "orthanc"
    return request.getfixturevalue(name)


def _contents(archive: Provider) -> tuple[samples.Sample, ...]:
    return samples.JOURNEY if isinstance(archive, Orthanc) else samples.PLAIN


async def test_echo(archive: DcmQRSCP) -> None:
    async with aiodimse.connect(
        HOST, archive.port, called_ae_title=archive.title, contexts=[sop_class.Verification]
    ) as association:
        for _ in range(3):
            assert (await association.c_echo()).status == 0x0000


async def test_dcmqrscp_rejects_an_unknown_title(filled_dcmqrscp: DcmQRSCP) -> None:
    with pytest.raises(aiodimse.AssociationRejected) as rejected:
        async with aiodimse.connect(
            HOST, filled_dcmqrscp.port, called_ae_title="NOBODY", contexts=[sop_class.Verification]
        ):
            pass
    assert (rejected.value.result, rejected.value.source, rejected.value.reason) == (1, 1, 7)


async def test_no_accepted_context(storescp: Callable[..., StoreSCP]) -> None:
    scp = storescp()
    with pytest.raises(aiodimse.NoAcceptedContext):
        async with aiodimse.connect(HOST, scp.port, contexts=[FIND]):
            pass


@pytest.mark.parametrize("sample", samples.SAMPLES, ids=str)
async def test_store_keeps_the_bytes(storescp: Callable[..., StoreSCP], sample: samples.Sample) -> None:
    scp = storescp("+xa")
    async with aiodimse.connect(HOST, scp.port, contexts=aiodimse.contexts_for([sample.path])) as association:
        assert (await association.c_store(sample.path)).status == 0x0000
    (path,) = scp.files()
    assert samples.data_set_bytes(path) in (sample.data, sample.data + b"\0")
    assert path.name.endswith(sample.instance)


async def test_store_many_to_orthanc_and_find_them(orthanc: Orthanc) -> None:
    paths = [sample.path for sample in samples.JOURNEY]
    async with aiodimse.connect(
        HOST, orthanc.port, called_ae_title=orthanc.title, contexts=aiodimse.contexts_for(paths)
    ) as association:
        for path in paths:
            assert (await association.c_store(path)).status == 0x0000


async def test_store_re_encodes_between_the_little_endians(storescp: Callable[..., StoreSCP]) -> None:
    scp = storescp("+xi")
    async with aiodimse.connect(
        HOST, scp.port, contexts=aiodimse.contexts_for([samples.CT.path, samples.MR.path])
    ) as association:
        for sample in (samples.CT, samples.MR):
            assert (await association.c_store(sample.path)).status == 0x0000
    for path, sample in zip(scp.files(), (samples.CT, samples.MR), strict=True):
        assert samples.content(path) == samples.content(sample.path)


COMPRESSED = (samples.JPEG, samples.JPEG_LOSSLESS, samples.JPEG_2000, samples.JPEG_2000_LOSSLESS, samples.RLE)


@pytest.mark.parametrize("transcode", [True, False])
async def test_compressed_to_a_storescp_that_takes_no_compression(
    storescp: Callable[..., StoreSCP], transcode: bool
) -> None:
    scp = storescp()
    contexts = aiodimse.contexts_for([sample.path for sample in COMPRESSED])
    async with aiodimse.connect(HOST, scp.port, contexts=contexts, transcode=transcode) as association:
        for sample in COMPRESSED:
            if transcode:
                assert (await association.c_store(sample.path)).status == 0x0000
            else:
                with pytest.raises(aiodimse.NoAcceptedContext):
                    await association.c_store(sample.path)
    if transcode:
        samples.check_pixels(scp.files(), COMPRESSED)
    else:
        assert scp.files() == []


@pytest.mark.parametrize("option", ["+xs", "+xt", "+xv", "+xr"])
async def test_to_a_storescp_that_prefers_a_compression(storescp: Callable[..., StoreSCP], option: str) -> None:
    """JPEG Lossless, JPEG-LS, JPEG 2000 and RLE: the one context proposes nothing else."""
    taken = {"+xs": "JPEGLosslessSV1", "+xt": "JPEGLSLossless", "+xv": "JPEG2000Lossless", "+xr": "RLELossless"}
    syntax = getattr(transfer_syntax, taken[option])
    scp = storescp(option)
    contexts = [aiodimse.PresentationContext(sample.sop_class, [syntax]) for sample in (samples.CT, samples.JPEG)]
    async with aiodimse.connect(HOST, scp.port, contexts=contexts) as association:
        for sample in (samples.CT, samples.JPEG):
            assert (await association.c_store(sample.path)).status == 0x0000
    samples.check_pixels(scp.files(), (samples.CT, samples.JPEG), {syntax})


async def test_find(archive: DcmQRSCP) -> None:
    async with aiodimse.connect(HOST, archive.port, called_ae_title=archive.title, contexts=[FIND]) as association:
        async with association.c_find(keys(StudyInstanceUID="", PatientName=""), FIND) as matches:
            studies = {match.StudyInstanceUID async for match in matches}
        assert matches.status == 0x0000
        assert studies == {sample.study for sample in _contents(archive)}
        found = await association.c_find(keys(StudyInstanceUID=samples.CT.study, PatientName=""), FIND).collect()
        assert [str(match.PatientName) for match in found] == [str(samples.CT.header.PatientName)]


async def test_find_left_early_leaves_the_association_usable(archive: DcmQRSCP) -> None:
    async with aiodimse.connect(
        HOST, archive.port, called_ae_title=archive.title, contexts=[FIND, sop_class.Verification]
    ) as association:
        async with association.c_find(keys(StudyInstanceUID=""), FIND) as matches:
            async for _ in matches:
                break
        assert (await association.c_echo()).status == 0x0000
        assert await association.c_find(keys(StudyInstanceUID=""), FIND).collect()


@pytest.mark.parametrize("sample", [samples.CT, samples.MR, samples.SR], ids=str)
async def test_get(archive: DcmQRSCP, sample: samples.Sample, tmp_path: Path) -> None:
    async with (
        aiodimse.connect(HOST, archive.port, called_ae_title=archive.title, contexts=[GET]) as association,
        association.c_get(keys(StudyInstanceUID=sample.study), GET) as retrieval,
    ):
        async for instance in retrieval:
            assert (instance.sop_class_uid, instance.sop_instance_uid) == (sample.sop_class, sample.instance)
            await instance.save(tmp_path)
    assert (retrieval.status, retrieval.progress.completed, retrieval.progress.failed) == (0x0000, 1, 0)
    (path,) = tmp_path.iterdir()
    assert samples.content(path) == samples.content(sample.path)


@pytest.mark.parametrize("sample", [samples.JPEG, samples.JPEG_2000], ids=str)
async def test_get_compressed_from_orthanc(orthanc: Orthanc, sample: samples.Sample, tmp_path: Path) -> None:
    storage = [
        aiodimse.PresentationContext(sample.sop_class, transfer_syntaxes=[sample.transfer_syntax], scu=False, scp=True)
    ]
    async with (
        aiodimse.connect(
            HOST, orthanc.port, called_ae_title=orthanc.title, contexts=[GET], storage=storage
        ) as association,
        association.c_get(keys(StudyInstanceUID=sample.study), GET) as retrieval,
    ):
        async for instance in retrieval:
            await instance.save(tmp_path)
    assert retrieval.status == 0x0000
    (path,) = tmp_path.iterdir()
    assert samples.content(path) == samples.content(sample.path)


async def test_move_to_ourselves(archive: DcmQRSCP, move_target_port: int, tmp_path: Path) -> None:
    target = HandlerArchive(tmp_path, accept_called=["DEST"])
    async with (
        target.server.listen(HOST, move_target_port),
        aiodimse.connect(
            HOST, archive.port, ae_title="MOVER", called_ae_title=archive.title, contexts=[MOVE]
        ) as association,
        association.c_move(keys(StudyInstanceUID=samples.MR.study), MOVE, destination="DEST") as move,
    ):
        async for _ in move:
            pass
    assert move.status == 0x0000
    (request,) = target.requests
    assert (request.move_originator_ae_title, request.association.called_ae_title) == ("MOVER", "DEST")
    (path,) = target.stored()
    assert samples.content(path) == samples.content(samples.MR.path)


async def test_three_moves_to_ourselves_at_once(archive: DcmQRSCP, move_target_port: int) -> None:
    """Each image comes to the call that asked for its study, under one AE title."""
    receiver = aiodimse.Server(ae_title="DEST")

    async def moved(sample: samples.Sample) -> list[str]:
        async with (
            aiodimse.connect(
                HOST, archive.port, ae_title="DEST", called_ae_title=archive.title, contexts=[MOVE]
            ) as association,
            association.c_move(
                keys(StudyInstanceUID=sample.study), MOVE, destination="DEST", receiver=receiver
            ) as move,
        ):
            found = []
            async for instance in move:
                await instance.discard()
                found.append(instance.sop_instance_uid)
            assert move.status == 0x0000
            return found

    async with receiver.listen(HOST, move_target_port):
        wanted = (samples.CT, samples.MR, samples.SR)
        assert await asyncio.gather(*map(moved, wanted)) == [[sample.instance] for sample in wanted]


async def test_move_to_storescp_awaited(dcmqrscp: Callable[..., DcmQRSCP], storescp: Callable[..., StoreSCP]) -> None:
    target = storescp(title="DEST")
    archive = dcmqrscp(destinations={"DEST": target.port})
    async with aiodimse.connect(
        HOST,
        archive.port,
        called_ae_title=archive.title,
        contexts=[*aiodimse.contexts_for([samples.CT.path]), MOVE],
    ) as association:
        assert (await association.c_store(samples.CT.path)).status == 0x0000
        final = await association.c_move(keys(StudyInstanceUID=samples.CT.study), MOVE, destination="DEST")
        assert final.status == 0x0000
    assert len(target.files()) == 1


async def test_an_unknown_destination_raises(archive: DcmQRSCP) -> None:
    """dcmqrscp says 0xA801. Orthanc answers a destination that it does not know with 0xC000 or the like."""
    async with aiodimse.connect(
        HOST, archive.port, called_ae_title=archive.title, contexts=[MOVE, sop_class.Verification]
    ) as association:
        async with association.c_move(keys(StudyInstanceUID=samples.CT.study), MOVE, destination="NOBODY") as move:
            with pytest.raises(aiodimse.DIMSEFailure) as failure:
                [progress async for progress in move]
        if not isinstance(archive, Orthanc):
            assert failure.value.status == 0xA801
        assert (await association.c_echo()).status == 0x0000
