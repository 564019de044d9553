"""Handlers that are wrong, one a line that says so: mypy and pyright must find each (test_services_typed.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydicom.dataset import Dataset

import aiodimse

server = aiodimse.Server()


@server.on_c_store  # wrong: a plain def
def plain(request: aiodimse.StoreRequest) -> int:
    return 0


@server.on_c_store  # wrong: the request of another service
async def other_request(request: aiodimse.FindRequest) -> int:
    return 0


@server.on_c_echo  # wrong: it returns what is no status
async def wrong_answer(request: aiodimse.EchoRequest) -> str:
    return "fine"


@server.on_c_find  # wrong: it yields what is no match
async def wrong_match(request: aiodimse.FindRequest) -> AsyncIterator[str]:
    yield "match"


@server.on_n_get  # wrong: no parameter
async def no_parameter() -> Dataset:
    return Dataset()


@server.on_n_set  # wrong: a generator where one answer is wanted
async def generator(request: aiodimse.NormalizedRequest) -> AsyncIterator[int]:
    yield 0


async def answer(request: aiodimse.NormalizedRequest) -> int:
    return 0


@server.on_n_action
async def missing_await(request: aiodimse.NormalizedRequest) -> int:
    return answer(request)  # wrong: a missing await


@server.on_c_get("1.2.840.10008.5.1.4.1.2.2.3")  # wrong: registered for a SOP class, and yields what is no instance
async def wrong_instance(request: aiodimse.GetRequest) -> AsyncIterator[float]:
    yield 1.5
