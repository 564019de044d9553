"""HTTP clients: limits how long they may take, and cancels the work for clients that have disconnected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, cast

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aiodimse import dicomweb


class Clients:
    """ASGI middleware that ends the work for a client that disconnects: the C-FIND, C-GET or C-STORE of its request."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        """Args: seconds: How long a client may take to send or to receive one piece."""
        self._app, self._seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_in_time() -> Message:
            try:
                async with asyncio.timeout(self._seconds):
                    return await receive()
            except TimeoutError:
                raise HTTPException(408, "the request is too slow\n", {"Connection": "close"}) from None

        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(self._seconds):
                    await send(message)
            except TimeoutError:
                raise ClientDisconnect from None
            await asyncio.sleep(0)  # so that a lost connection is noticed before the next piece

        with suppress(ClientDisconnect):  # nobody waits for the answer
            if scope.get("method") == "GET":
                await _until_gone(asyncio.ensure_future(self._app(scope, _never, send_in_time)), receive)
            else:
                await self._app(scope, receive_in_time if scope["type"] == "http" else receive, send_in_time)


async def _until_gone(work: asyncio.Future[None], receive: Receive) -> None:
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (work, gone):
            task.cancel()  # does nothing to one that has ended
        await asyncio.wait({work, gone})
    if not work.cancelled():
        work.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _never() -> Message:
    return await asyncio.Future[Message]()


class _Streamed(StreamingResponse):
    async def stream_response(self, send: Send) -> None:
        async with aclosing(cast("AsyncGenerator[Any, None]", self.body_iterator)):
            await super().stream_response(send)


async def streamed(pieces: AsyncGenerator[bytes, None], media_type: str, empty: Response | None = None) -> Response:
    """Return a streamed response once there is a first piece, so that an earlier failure can have its own status."""
    try:
        _, all_pieces = await dicomweb.begun(pieces)
    except StopAsyncIteration:
        return empty or PlainTextResponse("the archive has no such instance\n", 404)
    return _Streamed(all_pieces, media_type=media_type)
