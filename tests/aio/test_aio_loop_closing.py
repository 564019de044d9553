"""A loop that closes in the middle of everything leaves no "Task was destroyed", no warning and no open socket."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import warnings

import pytest
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.errors import AssociationError

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind


class Stop(KeyboardInterrupt):
    """Ctrl-C, of which the event loop lets only subclasses through; the test run goes on."""


def query() -> Dataset:
    found = Dataset()
    found.QueryRetrieveLevel = "STUDY"
    return found


async def everything(network: testing.MemoryNetwork | None, how: str) -> None:
    """An association with a handler running, one that is being opened, a listener - and then the end."""
    options = {} if network is None else {"network": network}
    timeouts = aiodimse.Timeouts(server_drain=0.1 if how == "is cancelled" else 30)
    server = aiodimse.Server(accept_called=True, timeouts=timeouts, **options)
    running = asyncio.Event()

    @server.on_c_find
    async def find(request):
        running.set()
        try:
            yield query()
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)

    async def use(port: int) -> None:
        call = aiodimse.connect("127.0.0.1", port, contexts=[sop_class.Verification, FIND], **options)
        with contextlib.suppress(AssociationError, OSError):
            async with call as association:
                await association.c_find(query(), FIND)

    async def body() -> None:
        async with server.listen("127.0.0.1") as listening:
            users = [asyncio.ensure_future(use(listening.port)) for _ in range(3)]
            await running.wait()
            # Not on sockets with Ctrl-C: asyncio itself then leaves the socket that it is just accepting.
            if network is not None or how != "is interrupted":
                users.append(asyncio.ensure_future(use(listening.port)))
                await asyncio.sleep(0)
            if how == "raises":
                raise ValueError("the program fails")
            if how == "is interrupted":
                asyncio.get_running_loop().call_soon(interrupt)
                await asyncio.get_running_loop().create_future()
            await asyncio.gather(*users)

    if how == "returns":
        task = asyncio.ensure_future(body())
        await running.wait()
        assert not task.done()
    elif how == "is cancelled":
        task = asyncio.ensure_future(body())
        await running.wait()
        task.cancel()
        await asyncio.wait({task})
    else:
        await body()


def interrupt() -> None:
    raise Stop


@pytest.mark.parametrize("where", ["in memory", "on sockets"])
@pytest.mark.parametrize("how", ["returns", "raises", "is cancelled", "is interrupted"])
def test_the_loop_closes(how, where, caplog):
    network = testing.MemoryNetwork() if where == "in memory" else None
    expected = {"raises": ValueError, "is interrupted": Stop}.get(how)
    with warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.WARNING):
        warnings.simplefilter("always")
        try:
            asyncio.run(everything(network, how))
        except (ValueError, Stop) as error:
            assert type(error) is expected  # noqa: PT017
        else:
            assert expected is None
        gc.collect()
    said = [record.getMessage() for record in caplog.records if record.name == "asyncio"]
    assert said == []
    assert [str(warning.message) for warning in warned] == []
