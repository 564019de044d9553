"""A-ABORT on the wire (PS3.8 7.3, 9.2, 9.3.8), in both roles and in each state that it can reach.

AA-1 sends it for the local user, with source 0, and then only the end of the connection follows. AA-3 takes the peer's:
the user is told its source and reason, and the connection is closed without another PDU.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from scripted import wire
from scripted.peer import ScriptedListener, ScriptedPeer

import aiodimse
from aiodimse import sop_class

HOST = "127.0.0.1"
VERIFY = [sop_class.Verification]
CONTEXTS = [(1, wire.VERIFICATION, [wire.EXPLICIT_LE])]
SOURCES = [(0, 0), (2, 0), (2, 6)]
sources = pytest.mark.parametrize("source", SOURCES, ids=str)


def is_the_peers(error: BaseException | None, source: tuple[int, int]) -> bool:
    return isinstance(error, aiodimse.AssociationAborted) and error.by_peer and (error.source, error.reason) == source


# --- requestor --------------------------------------------------------------------------------------------------------


async def in_sta5(peer: ScriptedPeer) -> None:
    """Our user awaits the A-ASSOCIATE-AC."""
    await peer.read_associate_rq()


async def in_sta6(peer: ScriptedPeer) -> None:
    """Our user awaits a response."""
    await peer.accept()
    await peer.read_message()


async def in_sta7(peer: ScriptedPeer) -> None:
    """Our user awaits the A-RELEASE-RP."""
    await peer.accept()
    await peer.respond(await peer.read_message(), 0x0000)
    await peer.expect(wire.A_RELEASE_RQ)


async def in_sta11(peer: ScriptedPeer) -> None:
    """The same, after a release collision in which our user has answered (AR-8, AR-9)."""
    await in_sta7(peer)
    await peer.send(wire.RELEASE_RQ)
    await peer.expect(wire.A_RELEASE_RP)


REQUESTOR = [in_sta5, in_sta6, in_sta7, in_sta11]


@asynccontextmanager
async def our_user(bring: Callable[[ScriptedPeer], Any]) -> AsyncIterator[tuple[ScriptedPeer, asyncio.Task[None]]]:
    """A provider whose user is in the state, and the task of that user, which ends with its error."""

    async def use(port: int) -> None:
        async with aiodimse.connect(HOST, port, contexts=VERIFY) as association:
            await association.c_echo()

    async with await ScriptedListener.open() as listener:
        user = asyncio.create_task(use(listener.port))
        peer = await listener.accept()
        await bring(peer)
        yield peer, user


@sources
@pytest.mark.parametrize("bring", REQUESTOR)
async def test_the_user_is_told_of_an_abort(bring: Any, source: tuple[int, int]) -> None:
    async with our_user(bring) as (peer, user):
        await peer.send(wire.abort(*source))
        await peer.expect_close()
        with pytest.raises(aiodimse.AssociationAborted) as caught:
            await user
        assert is_the_peers(caught.value, source)


@pytest.mark.parametrize("bring", REQUESTOR)
async def test_a_user_that_is_cancelled_aborts(bring: Any) -> None:
    async with our_user(bring) as (peer, user):
        user.cancel()
        assert await peer.expect_abort() == (0, 0)
        await peer.expect_close()
        with pytest.raises(asyncio.CancelledError):
            await user


async def test_a_user_that_aborts() -> None:
    async with await ScriptedListener.open() as listener:
        opening = asyncio.create_task(_open(listener.port))
        peer = await listener.accept()
        await peer.accept()
        association = await opening
        echo = asyncio.create_task(association.c_echo())
        await peer.read_message()
        association.abort()
        assert await peer.expect_abort() == (0, 0)
        await peer.expect_close()
        with pytest.raises(aiodimse.AssociationAborted) as caught:
            await echo
        assert not caught.value.by_peer
        await association.wait_closed()


async def _open(port: int) -> aiodimse.Association:
    return await aiodimse.connect(HOST, port, contexts=VERIFY)


# --- acceptor ---------------------------------------------------------------------------------------------------------


class Provider:
    """A server whose hook and handler wait until they are told to go on."""

    def __init__(self) -> None:
        self.server = aiodimse.Server(
            ae_title="ARCHIVE", end_idle="release", timeouts=aiodimse.Timeouts(drain_idle=0.0)
        )
        self.server.on_associate(self._associating)
        self.server.on_c_echo(self._echo)
        self.server.on_association_end(self._ended)
        self.is_hanging, self.waits = set[str](), asyncio.Event()
        self.cancelled: list[str] = []
        self.error: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.association: aiodimse.ProviderAssociation | None = None
        self.closing: asyncio.Task[None] | None = None

    async def _hang(self, where: str) -> None:
        if where in self.is_hanging:
            self.waits.set()
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                self.cancelled.append(where)
                raise

    async def _associating(self, request: aiodimse.AssociationRequest) -> None:
        await self._hang("hook")

    async def _echo(self, request: aiodimse.EchoRequest) -> None:
        self.association = request.association
        await self._hang("handler")

    async def _ended(self, association: aiodimse.ProviderAssociation, error: BaseException | None) -> None:
        self.error.set_result(error)


async def hooked(provider: Provider, peer: ScriptedPeer, listening: aiodimse.Listening) -> None:
    """Sta3: the hook has not answered the A-ASSOCIATE-RQ."""
    provider.is_hanging.add("hook")
    await peer.send(wire.associate_rq(CONTEXTS, called="ARCHIVE"))
    await provider.waits.wait()


async def handling(provider: Provider, peer: ScriptedPeer, listening: aiodimse.Listening) -> None:
    """Sta6: a handler runs."""
    provider.is_hanging.add("handler")
    await peer.associate(CONTEXTS, called="ARCHIVE")
    await peer.request(1, wire.echo_rq())
    await provider.waits.wait()


async def releasing(provider: Provider, peer: ScriptedPeer, listening: aiodimse.Listening) -> None:
    """Sta7: our server has asked for the release."""
    await peer.associate(CONTEXTS, called="ARCHIVE")
    await peer.request(1, wire.echo_rq(1))
    await peer.responses(1)
    provider.closing = asyncio.create_task(listening.close())
    await peer.expect(wire.A_RELEASE_RQ)


async def asked(provider: Provider, peer: ScriptedPeer, listening: aiodimse.Listening) -> None:
    """Sta10: both have asked for the release, and the requestor has to answer first (AR-8)."""
    await releasing(provider, peer, listening)
    await peer.send(wire.RELEASE_RQ)


ACCEPTOR = {"Sta3": hooked, "Sta6": handling, "Sta7": releasing, "Sta10": asked}


@asynccontextmanager
async def our_provider(state: str) -> AsyncIterator[tuple[Provider, ScriptedPeer]]:
    provider = Provider()
    async with provider.server.listen(HOST, 0) as listening, await ScriptedPeer.connect(HOST, listening.port) as peer:
        await ACCEPTOR[state](provider, peer, listening)
        yield provider, peer
        if provider.closing is not None:
            await provider.closing


@sources
@pytest.mark.parametrize("state", ["Sta6", "Sta7", "Sta10"])
async def test_the_provider_is_told_of_an_abort(state: str, source: tuple[int, int]) -> None:
    async with our_provider(state) as (provider, peer):
        await peer.send(wire.abort(*source))
        await peer.expect_close()
        assert is_the_peers(await provider.error, source)
        assert provider.cancelled == (["handler"] if state == "Sta6" else [])


@sources
async def test_the_hook_is_cancelled_by_an_abort(source: tuple[int, int]) -> None:
    """There was no association yet whose end could be told."""
    async with our_provider("Sta3") as (provider, peer):
        await peer.send(wire.abort(*source))
        await peer.expect_close()
        assert provider.cancelled == ["hook"]
        assert not provider.error.done()


@pytest.mark.parametrize("state", ["Sta6", "Sta7", "Sta10"])
async def test_a_provider_that_aborts(state: str) -> None:
    async with our_provider(state) as (provider, peer):
        assert provider.association is not None
        provider.association.abort()
        assert await peer.expect_abort() == (0, 0)
        await peer.expect_close()
        error = await provider.error
        assert isinstance(error, aiodimse.AssociationAborted)
        assert not error.by_peer


@pytest.mark.parametrize(
    "first",
    [wire.associate_ac([]), wire.associate_rj(1, 1, 1), wire.p_data(), wire.RELEASE_RQ, wire.RELEASE_RP, b"\x99" * 6],
    ids=["AC", "RJ", "P-DATA", "RELEASE-RQ", "RELEASE-RP", "no PDU"],
)
async def test_what_is_no_request_for_an_association_is_aborted(first: bytes) -> None:
    """Evt3, 4, 10, 12, 13 and 19 in Sta2: AA-1, whose source is 0 though no user has asked for it."""
    provider = Provider()
    async with provider.server.listen(HOST, 0) as listening, await ScriptedPeer.connect(HOST, listening.port) as peer:
        await peer.send(first)
        assert await peer.expect_abort() == (0, 0)
        await peer.expect_close()
    assert not provider.error.done()


async def test_an_abort_before_anything_else_closes_the_connection() -> None:
    """AA-2 in Sta2."""
    provider = Provider()
    async with provider.server.listen(HOST, 0) as listening, await ScriptedPeer.connect(HOST, listening.port) as peer:
        with contextlib.suppress(ConnectionError):
            await peer.send(wire.abort())
        await peer.expect_close()
    assert not provider.error.done()
