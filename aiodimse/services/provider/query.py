"""C-FIND on the provider's side (PS3.4 C.4.1, PS3.7 9.1.2)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from aiodimse.aio.performer import PerformedOperation
from aiodimse.dimse import messages
from aiodimse.errors import DatasetEncodeError
from aiodimse.services.encoding import encode_response
from aiodimse.services.provider.handler_result import HandlerResult, InvalidResult, read_yield
from aiodimse.services.provider.handler_run import Cancelled, HandlerEnded, HandlerRaised, HandlerRun, failure_of
from aiodimse.services.request import FindRequest
from aiodimse.standard import answers, service_class, sop_class

_log = logging.getLogger("aiodimse.query")


async def provide(performed: PerformedOperation, request: FindRequest, handler: Callable[[Any], Any]) -> None:
    """Run a C-FIND handler to its one final response."""
    operation = performed.operation

    def response(status: int) -> messages.Response:
        return request.message.response(status)

    async def give_up() -> None:
        await performed.respond(response(answers.CANCEL))

    matches = _Matches(performed, request)
    async with HandlerRun(performed, request, give_up) as run:
        try:
            with run.interrupt:
                run.begin(handler)
                final = await matches.send(run)
        except Cancelled:
            final = HandlerResult(answers.CANCEL)
        except HandlerEnded:
            final = HandlerResult(answers.SUCCESS)
        except HandlerRaised as error:
            final = failure_of(error, answers.RAISED["C-FIND"], performed, _log)
        except InvalidResult as error:
            final = HandlerResult(error.status)
            performed.logger(_log).error("the handler of %s yielded %s", request.message, error)
        except DatasetEncodeError as error:
            final = HandlerResult(answers.NOT_ENCODED)
            performed.logger(_log).error("a match of %s cannot be encoded: %s", request.message, error)
        if final.status == answers.SUCCESS and matches.too_large:
            comment = f"{matches.too_large} matches are too large to be sent"
            final = HandlerResult(answers.OUT_OF_RESOURCES, None, {"error_comment": comment})
        await run.close()  # FE00 is sent after the `finally` of the handler.
        message = response(final.status)
        final.apply(message)
        if operation.is_open:
            await performed.respond(message)


class _Matches:
    """Sends the matches of one request."""

    def __init__(self, performed: PerformedOperation, request: FindRequest) -> None:
        self._performed, self._request = performed, request
        self._log = performed.logger(_log)
        self._sent = 0
        self.too_large = 0
        """The number of matches that were not sent because their Identifiers are larger than Limits.identifier."""

    async def send(self, run: HandlerRun) -> HandlerResult:
        """Send the matches, and return the final status of the handler."""
        request = self._request
        row = sop_class.lookup(request.sop_class_uid)
        one_match = row is not None and row.service_class is service_class.RELEVANT_PATIENT_INFORMATION_QUERY
        while True:
            yielded = read_yield(await run.step())
            if yielded.status not in answers.STILL_PENDING:
                return yielded
            if one_match and self._sent:
                self._log.warning(
                    "%s: more than one match for one patient (PS3.4 Q.2); the rest is not sent", request.message
                )
                return HandlerResult(answers.SUCCESS)
            await self._send_one(yielded)

    async def _send_one(self, yielded: HandlerResult) -> None:
        """Send one match, unless it is larger than we would accept ourselves. The other matches are still sent."""
        request, most = self._request, self._performed.channel.limits.identifier
        data = await encode_response(yielded.payload, request.context.transfer_syntax)
        if len(data) > most:
            self.too_large += 1
            self._log.error("a match of %s is not sent: it has %d bytes, over %d", request.message, len(data), most)
            return
        message = request.message.response(yielded.status)
        yielded.apply(message)
        await self._performed.respond(message, data)
        self._sent += 1
