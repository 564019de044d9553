"""A-RELEASE of one association, whichever side asks (PS3.8 7.2).

It comes after a message that is half sent (AR-7): who writes that holds the pen.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiodimse.association import ReleaseConfirmation, ReleaseIndication, ReleaseTimedOut
from aiodimse.errors import AssociationClosed, AssociationTimeout

if TYPE_CHECKING:
    from aiodimse.aio.connection import Connection


class Release:
    """What both sides have said of it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._asked: asyncio.Future[None] | None = None  # by us, done at the end of the association

    async def ask(self) -> None:
        """What Connection.release says."""
        connection = self._connection
        try:
            if connection.error is None:
                if self._asked is None:
                    self._asked = asyncio.get_running_loop().create_future()
                    async with connection.pen:
                        if connection.engine.is_ready:  # else the peer has asked meanwhile: its answer waits behind us
                            connection.engine.release(connection.clock.now())
                            connection.pump()
                await asyncio.shield(self._asked)
        except asyncio.CancelledError:
            connection.abort()
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
            self._asked.set_exception(error)
            self._asked.exception()  # looked at: nobody has to await it

    # --- events -------------------------------------------------------------------------------------------------------

    def on_asked(self, event: ReleaseIndication) -> None:
        """A-RELEASE-RQ: what runs is cancelled, and A-RELEASE-RP answers. Both wait for the pen: a message whose writer
        is cancelled stays half sent."""
        connection = self._connection
        if event.collision:  # AR-8: nothing is open any more; the acceptor answers when our own release is answered
            if connection.engine.machine.role == "requestor":
                connection.engine.respond_release(connection.clock.now())
        elif connection.pen.is_held:
            connection.tasks.spawn(self._answer_after_pen(), "aiodimse release")
        else:
            self._answer()

    async def _answer_after_pen(self) -> None:
        connection = self._connection
        clock, seconds = connection.clock, connection.timeouts.write_stall
        late = f"{seconds} s after the peer's A-RELEASE-RQ a message of ours has not come to its end"
        try:
            async with (
                clock.deadline(clock.after(seconds), lambda: AssociationTimeout("write", late)),
                connection.pen,
            ):
                self._answer()
                connection.pump()
        except AssociationTimeout as error:
            connection.abort(error)

    def _answer(self) -> None:
        connection = self._connection
        if connection.error is None:
            connection.engine.respond_release(connection.clock.now())
            connection.end(AssociationClosed("the peer released the association"))

    def on_answered(self, event: ReleaseConfirmation) -> None:
        """A-RELEASE-RP."""
        if event.response_due:
            self._connection.engine.respond_release(self._connection.clock.now())
        self._connection.end(AssociationClosed("the association was released"))

    def on_timed_out(self, event: ReleaseTimedOut) -> None:
        """No A-RELEASE-RP in time."""
        seconds = self._connection.timeouts.release
        self._connection.abort(AssociationTimeout("release", f"no A-RELEASE-RP within {seconds} s"))
