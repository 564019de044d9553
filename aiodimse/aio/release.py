"""A-RELEASE of one association, whichever side asks (PS3.8 7.2).

It comes after a message that is half sent (AR-7): who writes that holds the pen.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiodimse.aio.signals import fail
from aiodimse.association import ReleaseConfirmation, ReleaseIndication, ReleaseTimedOut
from aiodimse.errors import AssociationClosed, AssociationTimeout

if TYPE_CHECKING:
    from aiodimse.aio.endpoint import Endpoint


class Release:
    """What both sides have said of it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._asked: asyncio.Future[None] | None = None  # by us, done at the end of the association

    async def ask(self) -> None:
        """What Endpoint.release says."""
        endpoint = self._endpoint
        try:
            if endpoint.error is None:
                if self._asked is None:
                    self._asked = asyncio.get_running_loop().create_future()
                    async with endpoint.writer:
                        if endpoint.engine.is_ready:  # else the peer has asked meanwhile: its answer waits behind us
                            endpoint.engine.release(endpoint.clock.now())
                            endpoint.pump()
                await asyncio.shield(self._asked)
        except asyncio.CancelledError:
            endpoint.abort()
            raise
        except AssociationClosed:
            return  # the peer was faster

    def ended(self, error: BaseException) -> None:
        """The association has ended, so or otherwise."""
        if self._asked is None or self._asked.done():
            return
        if isinstance(error, AssociationClosed):
            self._asked.set_result(None)
        else:
            fail(self._asked, error)

    # --- events -------------------------------------------------------------------------------------------------------

    def on_asked(self, event: ReleaseIndication) -> None:
        """A-RELEASE-RQ: what runs is cancelled, and A-RELEASE-RP answers. Both wait for the pen: a message whose writer
        is cancelled stays half sent."""
        endpoint = self._endpoint
        if event.collision:  # AR-8: nothing is open any more; the acceptor answers when our own release is answered
            if endpoint.engine.machine.role == "requestor":
                endpoint.engine.respond_release(endpoint.clock.now())
        elif endpoint.writer.is_held:
            endpoint.tasks.spawn(self._answer_after_pen(), "aiodimse release")
        else:
            self._answer()

    async def _answer_after_pen(self) -> None:
        endpoint = self._endpoint
        clock, seconds = endpoint.clock, endpoint.timeouts.write_stall
        late = f"{seconds} s after the peer's A-RELEASE-RQ a message of ours has not come to its end"
        try:
            async with (
                clock.deadline(clock.after(seconds), lambda: AssociationTimeout("write", late)),
                endpoint.writer,
            ):
                self._answer()
                endpoint.pump()
        except AssociationTimeout as error:
            endpoint.abort(error)

    def _answer(self) -> None:
        endpoint = self._endpoint
        if endpoint.error is None:
            endpoint.engine.respond_release(endpoint.clock.now())
            endpoint.end(AssociationClosed("the peer released the association"))

    def on_answered(self, event: ReleaseConfirmation) -> None:
        """A-RELEASE-RP."""
        if event.response_due:
            self._endpoint.engine.respond_release(self._endpoint.clock.now())
        self._endpoint.end(AssociationClosed("the association was released"))

    def on_timed_out(self, event: ReleaseTimedOut) -> None:
        """No A-RELEASE-RP in time."""
        seconds = self._endpoint.timeouts.release
        self._endpoint.abort(AssociationTimeout("release", f"no A-RELEASE-RP within {seconds} s"))
