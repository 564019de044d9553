"""A-RELEASE of one association, whichever side asks (PS3.8 7.2).

It comes after a message that is half sent (AR-7): whoever writes has entered the writer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aiodimse.aio.channel import Channel
from aiodimse.aio.clock import TimerHandle
from aiodimse.aio.part import Part
from aiodimse.association import ReleaseConfirmation, ReleaseIndication, ReleaseTimedOut
from aiodimse.errors import AssociationClosed, AssociationTimeout


class Release(Part):
    """What both sides have said of it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._asked = False  # by us
        self._answer_timer: TimerHandle | None = None
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
        """A-RELEASE-RQ: what runs is cancelled, and A-RELEASE-RP answers, after a message that is being written: one
        whose writer is cancelled stays half sent."""
        channel = self._channel
        if event.collision:  # AR-8: nothing is open any more; the acceptor answers when our own release is answered
            if channel.role == "requestor":
                channel.engine.respond_release(channel.clock.now())
            return
        seconds = channel.timeouts.write_stall
        if channel.writer.is_held and seconds is not None:
            self._answer_timer = channel.clock.call_at(channel.clock.now() + seconds, self._too_late)
        channel.writer.soon(self._answer)

    def _too_late(self) -> None:
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
        if self._answer_timer is not None:
            self._answer_timer.cancel()
