"""A-RELEASE of one association, whichever side asks (PS3.8 7.2).

It comes after a message that is half sent (AR-7): whoever writes has entered the writer.
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
    """What both sides have said of it."""

    def __init__(self, channel: Channel, invoker: Invoker, performer: Performer) -> None:
        self._channel, self._invoker, self._performer = channel, invoker, performer
        self._asked = False  # by us
        self._timer: TimerHandle | None = None
        channel.register(self)

    async def ask(self) -> None:
        """What Endpoint.release says."""
        channel = self._channel
        if channel.error is not None:
            return
        try:
            if not self._asked:
                self._asked = True
                async with channel.writer:
                    if channel.engine.is_ready:  # else the peer has asked meanwhile: its answer waits behind us
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
        """A-RELEASE-RQ: answer A-RELEASE-RP, after the responses to what the peer counts on.

        C-STORE and DIMSE-N requests that are here whole are performed to their end, within Timeouts.server_drain: in
        Sta8 their responses may still be sent (AR-7). C-FIND, C-GET and C-MOVE are cancelled, as is everything that we
        have asked for: the peer sends no more. The answer also comes after a message that is being written, for one
        whose writer is cancelled stays half sent.
        """
        channel = self._channel
        if event.collision:  # AR-8: nothing is open any more; the acceptor answers when our own release is answered
            if channel.role == "requestor":
                channel.engine.respond_release(channel.clock.now())
            return
        self._soon(self._end_operations)

    def _soon(self, act: Callable[[], None]) -> None:
        """Act when the message that is being written, if there is one, has come to its end, which may not take long."""
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
        """A-RELEASE-RP."""
        if event.response_due:
            self._channel.engine.respond_release(self._channel.clock.now())
        self._channel.end(AssociationClosed("the association was released"))

    def _on_timed_out(self, event: ReleaseTimedOut) -> None:
        """No A-RELEASE-RP in time."""
        seconds = self._channel.timeouts.release
        self._channel.abort(AssociationTimeout("release", f"no A-RELEASE-RP within {seconds} s"))

    def ended(self, error: BaseException) -> None:
        """The association has ended, so or otherwise."""
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
