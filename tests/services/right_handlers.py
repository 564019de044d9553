"""Handlers that are right, in every form that the documentation shows: mypy and pyright must take each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from pydicom.dataset import Dataset

import aiodimse

server = aiodimse.Server()
FIND = "1.2.840.10008.5.1.4.1.2.2.1"


@server.on_c_echo
async def echo(request: aiodimse.EchoRequest) -> None:
    return None


@server.on_c_store
async def store(request: aiodimse.StoreRequest) -> int:
    await request.save("folder")
    return 0x0000


@server.on_c_find(FIND, extended=None)
async def find(request: aiodimse.FindRequest) -> AsyncIterator[Dataset]:
    yield request.identifier


@server.on_c_find
async def find_pairs(request: aiodimse.FindRequest) -> AsyncIterator[tuple[int, Dataset] | int]:
    yield 0xFF01, request.identifier
    yield 0x0000


@server.on_c_get
async def get(request: aiodimse.GetRequest) -> AsyncIterator[int | Path]:
    yield 1
    yield Path("file.dcm")


@server.on_c_move
async def move(request: aiodimse.MoveRequest) -> AsyncIterator[aiodimse.handler_types.Moved]:
    yield aiodimse.Destination("viewer.example", 104)
    yield 1
    yield 0xFF00, "file.dcm"


@server.on_n_get
async def n_get(request: aiodimse.NormalizedRequest) -> Dataset:
    return Dataset()


@server.on_n_action
async def action(request: aiodimse.NormalizedRequest) -> tuple[int, Dataset | None]:
    return 0, None


class Archive:
    async def store(self, folder: str, request: aiodimse.StoreRequest) -> int:
        return 0


server.on_c_store(partial(Archive().store, "folder"))


async def called_by_the_application(request: aiodimse.FindRequest) -> list[Dataset]:
    """A decorated handler keeps its own type."""
    return [match async for match in find(request)]
