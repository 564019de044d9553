"""Limits.dataset_in_memory counts for what we send, too: a file, or a stream, that has to be decoded for that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pydicom
import pytest

import aiodimse
from aiodimse import sop_class, testing

FILE = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"
CT, IMPLICIT, EXPLICIT = sop_class.CTImageStorage, "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
WITHOUT_BULK = sop_class.CompositeInstanceRetrieveWithoutBulkDataGet
SMALL = aiodimse.Limits(dataset_in_memory=10_000)


async def chunks() -> AsyncIterator[bytes]:
    data = FILE.read_bytes()
    for at in range(0, len(data), 1000):
        yield data[at : at + 1000]


@pytest.mark.parametrize("kind", ["path", "instance", "stream"])
async def test_a_user_that_has_to_re_encode_what_is_too_large(kind: str) -> None:
    server, stored = aiodimse.Server(), list[int]()

    @server.on_c_store
    async def store(request: Any) -> int:
        stored.append(len((await request.dataset()).PixelData))
        return 0x0000

    async def source() -> Any:
        if kind == "stream":
            return await aiodimse.Instance.from_part10(chunks())
        return FILE if kind == "path" else await aiodimse.Instance.open(FILE)

    context = aiodimse.PresentationContext(CT, [IMPLICIT])
    for limits, is_too_large in ((SMALL, True), (aiodimse.Limits(), False)):
        async with testing.joined(server, contexts=[context], limits=limits) as association:
            if is_too_large:
                with pytest.raises(aiodimse.DatasetTooLarge):
                    await association.c_store(await source())
                assert association.is_open
            else:
                assert (await association.c_store(await source())).status == 0x0000
    assert stored == [128 * 128 * 2]


@pytest.mark.parametrize("limits", [SMALL, aiodimse.Limits()])
async def test_a_provider_that_leaves_bulk_data_out_of_what_is_too_large(limits: aiodimse.Limits) -> None:
    server = aiodimse.Server(limits=limits)

    @server.on_c_get(WITHOUT_BULK)
    async def get(request: Any) -> AsyncIterator[Any]:
        yield 1
        yield 0xFF00, FILE

    came: list[Any] = []
    async with testing.joined(server, contexts=[WITHOUT_BULK], storage=[CT]) as association:
        failed = pytest.raises(aiodimse.DIMSEFailure, match="A702") if limits is SMALL else nullcontext()
        with failed:
            async with association.c_get(aiodimse.EncodedDataset(b"", EXPLICIT), WITHOUT_BULK) as retrieval:
                async for instance in retrieval:
                    came += [await instance.dataset()]
    assert len(came) == (0 if limits is SMALL else 1)
