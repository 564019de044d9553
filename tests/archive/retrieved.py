"""What a peer gets that asks an archive for instances, some of which may be cut off or fail."""

from __future__ import annotations

import asyncio
from typing import Any

import aiodimse

PIXEL_DATA = 0x7FE00010


async def pixels(retrieval: Any) -> tuple[dict[str, bytes], bool]:
    """Take the instances of a C-GET or C-MOVE that come whole.

    Returns:
        Their pixels by SOP Instance UID, and whether the association was still there at the end.
    """
    got: dict[str, bytes] = {}
    try:
        async with asyncio.timeout(20), retrieval:
            async for instance in retrieval:
                try:
                    dataset = await instance.dataset()
                except aiodimse.AssociationError:
                    continue  # it was cut off
                got[dataset.SOPInstanceUID] = dataset[PIXEL_DATA].value
    except aiodimse.AssociationAborted:
        return got, False
    except aiodimse.DIMSEFailure:
        pass
    return got, True
