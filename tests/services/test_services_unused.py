"""An operation that is never used warns when it is dropped, as a coroutine does; one that was used does not."""

from __future__ import annotations

import gc
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from pydicom import Dataset

import aiodimse
from aiodimse import sop_class, testing

OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "C-FIND": lambda client: client.c_find(
        aiodimse.identifier("STUDY"), sop_class.StudyRootQueryRetrieveInformationModelFind
    ),
    "C-GET": lambda client: client.c_get(
        aiodimse.identifier("STUDY"), sop_class.StudyRootQueryRetrieveInformationModelGet
    ),
    "C-MOVE": lambda client: client.c_move(
        aiodimse.identifier("STUDY"), sop_class.StudyRootQueryRetrieveInformationModelMove, destination="ELSEWHERE"
    ),
}
CONTEXTS = [
    sop_class.StudyRootQueryRetrieveInformationModelFind,
    sop_class.StudyRootQueryRetrieveInformationModelGet,
    sop_class.StudyRootQueryRetrieveInformationModelMove,
]


def serving() -> aiodimse.Server:
    """A server that finds nothing, and refuses to send."""
    server = aiodimse.Server()

    @server.on_c_find
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[Dataset]:
        return
        yield

    return server


def warned(make: Callable[[], object]) -> list[str]:
    """What is warned of when this is made and dropped."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make()
        gc.collect()
    return [str(each.message) for each in caught if each.category is RuntimeWarning]


@pytest.mark.parametrize("service", OPERATIONS)
async def test_an_operation_that_is_never_used_warns(service: str) -> None:
    expected = f"a {service} was never awaited, iterated or entered, so its request was not sent"
    async with testing.joined(serving(), contexts=CONTEXTS) as association:
        assert warned(lambda: OPERATIONS[service](association)) == [expected]
    async with aiodimse.Pool("192.0.2.1", 104, contexts=CONTEXTS) as pool:
        assert warned(lambda: OPERATIONS[service](pool)) == [expected]


async def _await(operation: Any) -> None:
    await operation


async def _enter(operation: Any) -> None:
    async with operation:
        pass


async def _iterate(operation: Any) -> None:
    async for _ in operation:
        pass


async def _cancel(operation: Any) -> None:
    await operation.cancel()


@pytest.mark.parametrize("use", [_await, _enter, _iterate, _cancel])
@pytest.mark.parametrize("service", OPERATIONS)
async def test_one_that_was_used_does_not_warn(service: str, use: Callable[[Any], Any]) -> None:
    """Even if its request could not be sent, which has raised."""
    async with testing.joined(serving(), contexts=CONTEXTS) as association:
        operations = [OPERATIONS[service](association)]
        with suppress(aiodimse.AiodimseError):
            await use(operations[0])
        assert warned(operations.clear) == []


async def test_one_that_could_not_be_made_does_not_warn() -> None:
    async with testing.joined(serving(), contexts=CONTEXTS) as association:

        def wrong() -> None:
            with pytest.raises(TypeError, match="the Identifier comes first"):
                association.c_find(sop_class.StudyRootQueryRetrieveInformationModelFind, Dataset())  # type: ignore[arg-type]

        assert warned(wrong) == []
