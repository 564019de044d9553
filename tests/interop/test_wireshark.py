"""A recording of our own traffic, both sides ours, read by Wireshark's dissector: no malformed packet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from interop import dcmtk, samples, wireshark
from interop.dcmtk import StoreSCP
from interop.ours import HOST, TITLE, HandlerArchive, keys

import aiodimse
from aiodimse import sop_class

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove


READ_WELL = (samples.CT, samples.MR, samples.SR, samples.RT_PLAN, samples.ECG)
"""Wireshark 4.0.17 takes the response on a compressed or deflated context for pixels, whoever sends it."""


async def test_everything_we_say_is_well_formed(tmp_path: Path) -> None:
    paths = [sample.path for sample in READ_WELL]
    (tmp_path / "stored").mkdir()
    (tmp_path / "moved").mkdir()
    target = HandlerArchive(tmp_path / "moved", accept_called=["DEST"])
    async with (
        target.server.listen(HOST, 0) as moved,
        wireshark.Tap(moved.port) as move_tap,
    ):
        archive = HandlerArchive(tmp_path / "stored", paths, {"DEST": move_tap.port})
        async with archive.server.listen(HOST, 0) as listening, wireshark.Tap(listening.port) as tap:
            async with aiodimse.connect(
                HOST,
                tap.port,
                called_ae_title=TITLE,
                contexts=[sop_class.Verification, FIND, MOVE, *aiodimse.contexts_for(paths)],
                operations_window=4,
            ) as association:
                await association.c_echo()
                for path in paths:
                    assert (await association.c_store(path)).status == 0x0000
                assert len(await association.c_find(keys(StudyInstanceUID=""), FIND).collect()) == len(paths)
                async with association.c_find(keys(StudyInstanceUID=""), FIND) as matches:
                    async for _ in matches:
                        break
                final = await association.c_move(keys(StudyInstanceUID=""), MOVE, destination="DEST")
                assert final.status == 0x0000
            async with (
                aiodimse.connect(HOST, tap.port, called_ae_title=TITLE, contexts=[GET]) as association,
                association.c_get(keys(StudyInstanceUID=samples.CT.study), GET) as retrieval,
            ):
                async for instance in retrieval:
                    await instance.discard()
            association = await aiodimse.connect(
                HOST, tap.port, called_ae_title=TITLE, contexts=[sop_class.Verification]
            )
            association.abort()
            await association.wait_closed()
    assert len(tap.conversations) == 3
    for number, conversation in enumerate([*tap.conversations, *move_tap.conversations]):
        folder = tmp_path / str(number)
        folder.mkdir()
        judged = await wireshark.judge(conversation, folder)
        assert judged.malformed == []
        assert judged.pdus[:2] == [1, 2]
        assert judged.pdus[-2:] == ([5, 6] if number != 2 else [2, 7])


@pytest.mark.parametrize("sample", samples.SAMPLES, ids=str)
async def test_a_store_is_read_no_worse_than_one_of_storescu(
    storescp: Callable[..., StoreSCP], tmp_path: Path, sample: samples.Sample
) -> None:
    """What Wireshark complains of in our conversation it complains of in DCMTK's; nothing, for most samples."""
    scp = storescp("+xa")
    async with wireshark.Tap(scp.port) as tap:
        await dcmtk.storescu(tap.port, [sample.path], sample.dcmtk, code=0)
        contexts = aiodimse.contexts_for([sample.path])
        async with aiodimse.connect(HOST, tap.port, contexts=contexts) as association:
            assert (await association.c_store(sample.path)).status == 0x0000
    theirs, ours = [await wireshark.judge(conversation, tmp_path) for conversation in tap.conversations]
    assert len(ours.malformed) == len(theirs.malformed), ours.malformed
    assert ours.malformed == [] or sample not in READ_WELL
    assert (ours.pdus[:2], ours.pdus[-2:]) == ([1, 2], [5, 6])
