"""Runs a handler, in one task from its first step to its end, whatever the peer, the clock or the handler does.

A handler can be cancelled for three reasons, which end differently (docs/topics/query-retrieve.md). After a C-CANCEL
the handler is cancelled where it waits, its `finally` runs, and the response is FE00. At the end of the association the
same happens, but nothing is sent. Any other CancelledError is a failure of the handler, unless the task itself is being
cancelled, as at the end of a loop.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any

from aiodimse.aio.clock import TimerHandle
from aiodimse.aio.interrupt import Interrupt, cancellations
from aiodimse.aio.performer import PerformedOperation
from aiodimse.aio.words import kind
from aiodimse.errors import AiodimseError, DIMSEFailure
from aiodimse.services.provider.handler_result import HandlerResult, InvalidResult, as_int, checked_field
from aiodimse.services.request import Request
from aiodimse.standard import answers

_log = logging.getLogger("aiodimse.handler")

_PACKAGE = __name__.partition(".")[0]

_YIELD_EVERY = 32
"""After so many responses without a wait the event loop gets a turn, so that a C-CANCEL can be received."""


class Cancelled(AiodimseError):
    """The peer has sent C-CANCEL, and the handler was cancelled."""


class Ended(AiodimseError):
    """The association has ended, or is being released: there will be no response."""


class HandlerEnded(AiodimseError):
    """The handler yields nothing more."""


class HandlerRaised(AiodimseError):
    """The handler has raised. The cause is its exception."""


def describe(error: BaseException) -> str:
    """Describe an exception by its type and where it was raised. Its text is left out, since it may hold patient
    data."""
    where = _raised_in(error)
    if where is None:
        return kind(error)
    code = where.tb_frame.f_code
    return f"{kind(error)} at {code.co_filename}:{where.tb_lineno} in {code.co_name}"


def text_if_ours(error: BaseException) -> str:
    """Return the text of an exception that the library has raised, which names no values; otherwise describe it.

    A handler, or what it yields, may raise an exception of the same type with a text of its own.
    """
    where = _raised_in(error)
    is_ours = where is not None and where.tb_frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE
    return str(error) if is_ours else describe(error)


def _raised_in(error: BaseException) -> TracebackType | None:
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    return where


def failure_of(
    error: HandlerRaised, status: int, performed: PerformedOperation, logger: logging.Logger, who: str = "handler"
) -> HandlerResult:
    """Return the final response to what a handler raised, and log it.

    DIMSEFailure has a status of its own, if that can end an operation: after a Pending one the peer would wait for
    more. It is an answer and not a fault, so that it is logged as INFO. Its comment is only for the peer, since it may
    hold patient data.
    """
    log, message = performed.logger(logger), performed.operation.request
    cause = error.__cause__
    if not isinstance(cause, DIMSEFailure):
        log.error("the %s of %s raised %s", who, message, error)
        return HandlerResult(status)
    own = as_int(getattr(cause, "status", None))  # a subclass may not have called DIMSEFailure.__init__
    if own is None or not 0 <= own <= 0xFFFF or own in answers.STILL_PENDING:
        log.error("the %s of %s raised DIMSEFailure with what is no final status", who, message)
        return HandlerResult(status)
    log.info("the %s of %s raised DIMSEFailure: 0x%04X", who, message, own)
    fields: dict[str, Any] = {}
    for attribute, name in (("comment", "error_comment"), ("offending_elements", "offending_element")):
        try:
            if (value := getattr(cause, attribute, None)) not in (None, ()):
                fields[name] = checked_field(name, value, f"a DIMSEFailure whose {attribute}")
        except InvalidResult as invalid:  # the status is sent without it
            log.error("the %s of %s raised %s", who, message, invalid)
    return HandlerResult(own, None, fields)


class HandlerRun:
    """One call of a handler for one request.

    Args:
        performed: The request. While the handler runs, its C-CANCEL and the end of the association come here.
        request: What the handler is called with.
        give_up: Sends the final response if the handler does not end in time after a C-CANCEL; None for a service that
            cannot be cancelled.
    """

    def __init__(
        self,
        performed: PerformedOperation,
        request: Request,
        give_up: Callable[[], Coroutine[Any, Any, None]] | None,
    ) -> None:
        self._performed = performed
        self._request = request
        self._give_up = give_up
        self.interrupt: Interrupt = Interrupt()
        """The block in which C-CANCEL ends what the handler awaits. It raises Cancelled then."""
        self._end_all: Callable[[], None] | None = None
        """Ends what the whole task awaits, when the association ends."""
        self._iterator: AsyncIterator[Any] | None = None
        """The handler, if it yields."""
        self._is_in_handler = False
        self._has_ended = False
        """Whether the association has ended."""
        self._is_closing = False
        self._timer: TimerHandle | None = None
        """The deadline for the end of a handler that was cancelled."""
        self._steps = 0
        """How often it was asked for the next thing that it yields."""

    # --- from outside -------------------------------------------------------------------------------------------------

    def _on_cancel(self) -> None:
        """Take a C-CANCEL. Only the handler is interrupted; a message or sub-operation under way is finished first."""
        if self._is_in_handler:
            self._watch()
            self.interrupt.fire(Cancelled())
        elif self._is_closing:
            self._watch()

    def _on_end(self) -> None:
        """Take the end of the association. The `finally` of a handler is not interrupted: it runs after a C-CANCEL, or
        because the run is over."""
        self._has_ended = True
        if self._end_all is not None and not self.interrupt.has_fired and not self._is_closing:
            self._end_all()

    def _watch(self) -> None:
        """Give the handler Timeouts.handler_close from now on to end."""
        if self._timer is None:
            channel = self._performed.channel
            when = channel.clock.now() + channel.timeouts.handler_close
            self._timer = channel.clock.call_at(when, self._too_late)

    def _too_late(self) -> None:
        channel = self._performed.channel
        if self._performed.operation.is_open and self._give_up is not None:
            seconds, log = channel.timeouts.handler_close, self._performed.logger(_log)
            log.warning("the handler of %s did not end within %s s", self._request.message, seconds)
            channel.tasks.spawn(self._give_up(), "aiodimse give up")

    # --- the one task -------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> HandlerRun:
        self._end_all, self._performed.on_end = self._performed.on_end, self._on_end
        if self._give_up is not None:
            self._performed.on_cancel = self._on_cancel
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            if self._iterator is not None:
                await self.close()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._performed.on_cancel, self._performed.on_end = None, self._end_all

    async def _inside(self, awaitable: Awaitable[Any]) -> Any:
        """Await code of the handler."""
        if self._has_ended:
            if inspect.iscoroutine(awaitable):
                awaitable.close()
            raise Ended
        self._is_in_handler = True
        try:
            result = await awaitable
        except asyncio.CancelledError as error:
            if self._has_ended:
                raise Ended from None
            if cancellations():
                raise  # By C-CANCEL, as `interrupt` will say, or because the loop is closing.
            self._check_interrupted(error)
            raise HandlerRaised("a CancelledError that nobody asked for") from error
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            self._check_interrupted(error)
            raise HandlerRaised(describe(error)) from error
        finally:
            self._is_in_handler = False
        self._check_interrupted()
        return result

    def _check_interrupted(self, error: BaseException | None = None) -> None:
        """If the handler was interrupted, drop what it returned or raised, however it took that."""
        if self._has_ended:
            if error is not None:
                # The association keeps the error that ended it, whose traceback would keep what the handler's frames
                # reference.
                error.__traceback__ = None
            raise Ended
        if self._request.is_cancelled and self._give_up is not None:
            raise Cancelled from None

    async def wait(self, awaitable: Awaitable[bool]) -> bool:
        """Await something that is not code of the handler, and that a C-CANCEL interrupts all the same.

        Raises:
            Cancelled: C-CANCEL has come, and what was awaited has finished all the same.
            HandlerRaised: It raised. The cause is its exception.

        Cancellation: What is awaited is cancelled. C-CANCEL does that, too.
        """
        return bool(await self._inside(awaitable))

    async def call(self, handler: Callable[[Any], Any]) -> Any:
        """Call a handler that returns one answer: an async function."""
        try:
            result = handler(self._request)
        except Exception as error:
            raise HandlerRaised(describe(error)) from error
        return await self._inside(result) if inspect.isawaitable(result) else result

    def begin(self, handler: Callable[[Any], Any]) -> None:
        """Call a handler that yields. One that returns instead is treated as if it had yielded that once.

        Raises:
            Cancelled: C-CANCEL has come already, while the request waited for its place. The handler is not called.
            HandlerRaised: It has raised.
        """
        if self._request.is_cancelled:
            raise Cancelled
        try:
            result = handler(self._request)
        except Exception as error:
            raise HandlerRaised(describe(error)) from error
        if hasattr(result, "__aiter__"):
            self._iterator = result.__aiter__()
        else:
            self._iterator = _once(result)

    async def step(self) -> Any:
        """Return the next thing that the handler yields.

        Raises:
            HandlerEnded: It yields nothing more.
            HandlerRaised: It has raised.
            Cancelled: C-CANCEL has come.
            Ended: The association has ended.

        Cancellation: The handler is cancelled where it waits. C-CANCEL does that, too, inside `interrupt`.
        """
        assert self._iterator is not None
        if self._request.is_cancelled:
            raise Cancelled
        self._steps += 1
        if self._steps % _YIELD_EVERY == 0:
            await asyncio.sleep(0)
            if self._request.is_cancelled:
                raise Cancelled
        if self._has_ended:  # _inside is too late: Python 3.13 warns of an __anext__ that is called and never awaited.
            raise Ended
        try:
            return await self._inside(self._iterator.__anext__())
        except HandlerRaised as error:
            if isinstance(error.__cause__, StopAsyncIteration):
                raise HandlerEnded from None
            raise

    async def close(self) -> None:
        """Let the `finally` of the handler run without interruption. What it raises is logged."""
        iterator, self._iterator = self._iterator, None
        close = getattr(iterator, "aclose", None)
        if close is None:
            return
        if self._request.is_cancelled and self._give_up is not None:
            self._watch()
        self._is_closing = True
        others = cancellations()
        try:
            await close()
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and cancellations() > others:
                raise  # The task itself is cancelled: the loop is closing.
            log = self._performed.logger(_log)
            log.warning("closing the handler of %s: %s", self._request.message, describe(error))
        finally:
            self._is_closing = False


async def _once(result: Any) -> AsyncIterator[Any]:
    if inspect.isawaitable(result):
        result = await result
    if result is not None:
        yield result
