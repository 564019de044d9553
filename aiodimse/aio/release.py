"""The release of one association, whichever side asks for it (PS3.8 7.2).

A-RELEASE PDUs never come into the middle of a message (AR-7): whoever sends one has entered the writer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from aiodimse.aio.channel import Channel
from aiodimse.aio.clock import TimerHandle
from aiodimse.aio.invoker import Invoker
from aiodimse.aio.part import Part
from aiodimse.aio.performer import Performer
from aiodimse.association import ReleaseConfirmation, ReleaseIndication, ReleaseTimedOut
from aiodimse.errors import AssociationClosed, AssociationTimeout

_log = logging.getLogger("aiodimse.association")


class Release(Part):
    """What both sides have said of the release."""

    def __init__(self, channel: Channel, invoker: Invoker, performer: Performer) -> None:
        self._channel, self._invoker, self._performer = channel, invoker, performer
        self._asked = False  # by us
        self._timer: TimerHandle | None = None
        channel.register(self)

    async def ask(self) -> None:
        """Ask for the release. See Endpoint.release."""
        channel = self._channel
        channel.one_loop.check()
        if channel.error is not None:
            return
        try:
            if not self._asked:
                self._asked = True
                async with channel.writer:
                    # Otherwise the peer has asked meanwhile, and our answer to it waits for the writer that we hold.
                    if channel.engine.is_ready:
                        channel.engine.release(channel.clock.now())
                        channel.pump()
            error = await channel.ending.wait()
        except asyncio.CancelledError:
            channel.abort()
            raise
        except AssociationClosed:
            return  # the peer was faster
        if not isinstance(error, AssociationClosed):
            raise error

    # --- events -------------------------------------------------------------------------------------------------------

    def events(self) -> Mapping[type[Any], Callable[[Any], None]]:
        """A-RELEASE of the peer, and what comes of ours."""
        return {
            ReleaseIndication: self._on_asked,
            ReleaseConfirmation: self._on_answered,
            ReleaseTimedOut: self._on_timed_out,
        }

    def _on_asked(self, event: ReleaseIndication) -> None:
        """Answer the peer's A-RELEASE-RQ with A-RELEASE-RP, after the responses that the peer counts on.

        C-STORE and DIMSE-N requests that have come completely are performed to their end, within Timeouts.server_drain:
        in Sta8 their responses may still be sent (AR-7). C-FIND, C-GET and C-MOVE are cancelled, and so are our own
        operations, since the peer sends nothing more. The answer also waits for a message that is being written; if its
        writer were cancelled, the message would stay half sent.
        """
        channel = self._channel
        # AR-8: no operation is open any more. The acceptor answers when its own release has been answered.
        if event.collision:
            if channel.role == "requestor":
                channel.engine.respond_release(channel.clock.now())
            return
        self._soon(self._end_operations)

    def _soon(self, act: Callable[[], None]) -> None:
        """Act when no message is being written. The time that a message may take to its end is bounded."""
        channel, seconds = self._channel, self._channel.timeouts.write_stall
        self._stop_timer()
        if channel.writer.is_held and seconds is not None:
            self._timer = channel.clock.call_at(channel.clock.now() + seconds, self._writer_too_late)
        channel.writer.soon(act)

    def _end_operations(self) -> None:
        channel = self._channel
        self._stop_timer()
        if channel.error is not None:
            return
        error = AssociationClosed("the peer released the association")
        self._invoker.ended(error)
        self._performer.end_what_a_release_ends(error)
        if not self._performer:
            self._answer()
            return
        channel.after_operation.append(self._answer_when_done)
        self._timer = channel.clock.call_at(
            channel.clock.now() + channel.timeouts.server_drain, self._handlers_too_late
        )
        # A request that waited may have got the place of one that was ended.
        asyncio.get_running_loop().call_soon(channel.pump)

    def _answer_when_done(self) -> None:
        if not self._performer:
            self._soon(self._answer)

    def _handlers_too_late(self) -> None:
        channel = self._channel
        channel.logger(_log).warning(
            "%d handlers did not end within %s s after the peer's A-RELEASE-RQ: cancelling them",
            len(self._performer),
            channel.timeouts.server_drain,
        )
        self._soon(self._answer)

    def _writer_too_late(self) -> None:
        seconds = self._channel.timeouts.write_stall
        late = f"{seconds} s after the peer's A-RELEASE-RQ a message of ours has not come to its end"
        self._channel.abort(AssociationTimeout("write", late))

    def _answer(self) -> None:
        channel = self._channel
        if channel.error is None:
            channel.engine.respond_release(channel.clock.now())
            channel.end(AssociationClosed("the peer released the association"))
            channel.pump()

    def _on_answered(self, event: ReleaseConfirmation) -> None:
        """Take the peer's A-RELEASE-RP."""
        if event.response_due:
            self._channel.engine.respond_release(self._channel.clock.now())
        self._channel.end(AssociationClosed("the association was released"))

    def _on_timed_out(self, event: ReleaseTimedOut) -> None:
        """Abort, since the peer's A-RELEASE-RP did not come in time."""
        seconds = self._channel.timeouts.release
        self._channel.abort(AssociationTimeout("release", f"no A-RELEASE-RP within {seconds} s"))

    def ended(self, error: BaseException) -> None:
        """The association has ended, so or otherwise."""
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
