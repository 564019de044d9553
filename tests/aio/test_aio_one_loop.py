"""An association is used on its own event loop only; on another, and in another thread, it says so and lives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydicom.data import get_testdata_file

from aiodimse import Environment, LocalProtocolError, Server, StoreRequest, sop_class, testing
from aiodimse.aio.one_loop import OneLoop
from aiodimse.dimse.messages import CEchoRQ, CEchoRSP, CFindRSP

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
WORDS = r"an association belongs to one event loop, of the thread 'MainThread', .*run_coroutine_threadsafe"


async def elsewhere(use: Callable[[], Any]) -> Any:
    """Use it on an event loop of another thread."""

    async def there() -> Any:
        return await use()

    return await asyncio.to_thread(lambda: asyncio.run(there()))


@pytest.mark.parametrize("name", ["c_echo", "release", "wait_closed"])
async def test_as_user(world, name):
    association, peer = await world.calling()
    with pytest.raises(LocalProtocolError, match=WORDS):
        await elsewhere(getattr(association, name))
    assert association.is_open
    echoing = asyncio.ensure_future(association.c_echo())
    await peer.read_message()
    peer.send_message(1, CEchoRSP(message_id_being_responded_to=1, status=0))
    assert (await echoing).status == 0
    association.abort()
    peer.abort_transport()


async def test_abort_in_a_thread_without_an_event_loop(world):
    association, peer = await world.calling()
    with pytest.raises(LocalProtocolError, match="call_soon_threadsafe"):
        await asyncio.to_thread(association.abort)
    assert association.is_open
    asyncio.get_running_loop().call_soon_threadsafe(association.abort)
    await testing.settle()
    assert not association.is_open
    peer.abort_transport()


async def test_matches_that_are_read_on_another_loop(world):
    association, peer = await world.calling()
    async with association.c_find(world.query(), FIND) as matches:
        await peer.read_message()
        with pytest.raises(LocalProtocolError, match=WORDS):
            await elsewhere(matches.__anext__)
        peer.send_message(3, CFindRSP(message_id_being_responded_to=1, affected_sop_class_uid=FIND, status=0))
        assert [match async for match in matches] == []
    association.abort()
    peer.abort_transport()


@pytest.mark.parametrize("name", ["cancel", "__aexit__"])
async def test_matches_that_are_left_on_another_loop(world, name):
    """No C-CANCEL is sent from there."""
    association, peer = await world.calling()
    async with association.c_find(world.query(), FIND) as matches:
        await peer.read_message()
        arguments = (None, None, None) if name == "__aexit__" else ()
        with pytest.raises(LocalProtocolError, match=WORDS):
            await elsewhere(lambda: getattr(matches, name)(*arguments))
        peer.send_message(3, CFindRSP(message_id_being_responded_to=1, affected_sop_class_uid=FIND, status=0))
        assert [match async for match in matches] == []
    await testing.settle()
    assert not peer.has_pdu
    association.abort()
    peer.abort_transport()


@pytest.mark.parametrize("name", ["save", "dataset", "discard", "stream", "part10"])
async def test_an_instance_that_arrives(name, tmp_path):
    """Given to a thread, it is not touched, and can then be read where it belongs."""
    server = Server(accept_called=True)
    found: list[int] = []

    @server.on_c_store
    async def store(request: StoreRequest) -> int:
        async def there() -> None:
            if name in ("stream", "part10"):
                async for _ in getattr(request, name)():
                    pass
            else:
                await getattr(request, name)(*((tmp_path,) if name == "save" else ()))

        with pytest.raises(LocalProtocolError, match=WORDS):
            await elsewhere(there)
        found.append(len(await request.dataset()))
        return 0x0000

    async with testing.joined(server, contexts=[sop_class.CTImageStorage]) as association:
        assert (await association.c_store(str(get_testdata_file("CT_small.dcm")))).status == 0x0000
    assert found[0] > 10
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("use", ["abort", "wait_closed", "n_event_report"])
async def test_as_provider(world, use):
    """request.association, given to a thread that does some work."""
    server = world.server()

    @server.on_c_echo
    async def echoed(request: Any) -> int:
        association = request.association
        arguments = (sop_class.Verification, "1.2.3", 1) if use == "n_event_report" else ()

        async def there() -> None:
            result = getattr(association, use)(*arguments)
            if use != "abort":
                await result

        with pytest.raises(LocalProtocolError, match=r"one event loop|no accepted"):
            await asyncio.to_thread(lambda: asyncio.run(there()))
        assert association.is_open
        return 0

    async with world.called(server) as peer:
        peer.send_message(1, CEchoRQ(message_id=1, affected_sop_class_uid=sop_class.Verification))
        assert (await peer.read_message())[1].status == 0
        await testing.settle()


@pytest.mark.parametrize("name", ["close", "wait_empty"])
async def test_a_listening(name):
    network = testing.MemoryNetwork()
    server = Server(accept_called=True, environment=Environment(network=network))
    async with server.listen(port=104) as listening:
        with pytest.raises(LocalProtocolError, match="a listening belongs to one event loop"):
            await elsewhere(getattr(listening, name))
        assert not listening.is_draining
        peer = await testing.ScriptedPeer.call(network, 104)
        await peer.associate([sop_class.Verification])
        peer.abort_transport()


def test_a_loop_that_stands_still_is_not_disturbed():
    """What an application cleans up behind run_until_complete, in the same thread."""

    async def here() -> OneLoop:
        return OneLoop("it")

    loop = asyncio.new_event_loop()
    try:
        one_loop = loop.run_until_complete(here())
        one_loop.check()
    finally:
        loop.close()
    with pytest.raises(LocalProtocolError, match="it belongs"):
        asyncio.run(checked(one_loop))


async def checked(one_loop: OneLoop) -> None:
    one_loop.check()
