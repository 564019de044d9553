"""C-GET and C-MOVE on the provider's side: performs what the handler yields, and sends one final response.

See docs/topics/query-retrieve.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from pydicom.dataset import Dataset

from aiodimse import datasets
from aiodimse.aio.performer import PerformedOperation
from aiodimse.config import Timeouts
from aiodimse.dimse.status import Status
from aiodimse.services.encoding import encode_response
from aiodimse.services.provider.budgets import Budgets
from aiodimse.services.provider.destination import Destination, DestinationLost, StoreAssociations
from aiodimse.services.provider.handler_result import HandlerResult, InvalidResult, as_int, read_status, read_yield
from aiodimse.services.provider.handler_run import Cancelled, HandlerEnded, HandlerRaised, HandlerRun, failure_of
from aiodimse.services.provider.suboperations import Counters, Route, SameAssociation, SubOperations
from aiodimse.services.request import GetRequest, MoveRequest
from aiodimse.standard import answers

_log = logging.getLogger("aiodimse.retrieve")

_LOST = "the association with the move destination failed"
"""The Error Comment where no instance reached the destination."""
_HEAD = 12
"""The largest size of the header of an element, in bytes."""


async def provide_get(
    performed: PerformedOperation, request: GetRequest, handler: Callable[[Any], Any], budgets: Budgets
) -> None:
    """Run a C-GET handler to its one final response. `budgets` are those of the server."""
    await _Retrieve(performed, request, handler, budgets).run()


async def provide_move(
    performed: PerformedOperation,
    request: MoveRequest,
    handler: Callable[[Any], Any],
    budgets: Budgets,
    *,
    ae_title: str,
) -> None:
    """Run a C-MOVE handler to its one final response. `ae_title` is our title at the destination."""
    await _Retrieve(performed, request, handler, budgets, ae_title=ae_title).run()


class _EndedEarly(Exception):
    """The handler yielded a final status before its destination or the number of sub-operations."""

    def __init__(self, result: HandlerResult) -> None:
        if result.status in answers.STILL_PENDING:
            raise InvalidResult(answers.INVALID_STATUS, "a Pending status before the number of sub-operations")
        super().__init__(result.status)
        self.result = result


class _Retrieve:
    """One C-GET or C-MOVE request."""

    def __init__(
        self,
        performed: PerformedOperation,
        request: GetRequest | MoveRequest,
        handler: Callable[[Any], Any],
        budgets: Budgets,
        ae_title: str = "",
    ) -> None:
        self._performed, self._request, self._handler = performed, request, handler
        self._budgets = budgets
        self._ae_title = ae_title
        self._service = request.message.service
        self._counters = Counters()
        self._stores: StoreAssociations | None = None
        self._work: SubOperations | None = None
        self._is_lost = False
        self._log = performed.logger(_log)

    async def run(self) -> None:
        """Run the handler from its first step to the final response."""
        async with HandlerRun(self._performed, self._request, self._give_up) as run:
            try:
                final = await self._outcome(run)
                await run.close()  # so that the `finally` of the handler runs before the final response
                await self._respond(final)
            except BaseException:
                if self._work is not None:
                    self._work.abandon()
                if self._stores is not None:
                    self._stores.abort()
                raise
            if self._stores is not None:
                await self._stores.release()

    async def _give_up(self) -> None:
        """Send FE00 before the handler has ended, after the sub-operations under way have been finished and counted."""
        if self._work is not None:
            await self._finish(self._work)
        await self._respond(HandlerResult(answers.CANCEL))
        if self._stores is not None:
            await self._stores.release()

    async def _finish(self, work: SubOperations) -> None:
        try:
            await work.finish()
        except DestinationLost as error:
            self._lose(error)

    def _lose(self, error: DestinationLost) -> None:
        """Log once that the destination is lost. Everything that waits for it raises this error."""
        if not self._is_lost:
            self._is_lost = True
            self._log.warning("%s: %s", self._request.message, error)

    async def _outcome(self, run: HandlerRun) -> HandlerResult:
        """Return the final status, which follows from what the handler does and from the counters."""
        request = self._request
        final: HandlerResult | None = None
        try:
            with run.interrupt:
                run.begin(self._handler)
                final = await self._sub_operations(run)
        except Cancelled:
            final = HandlerResult(answers.CANCEL)
        except HandlerRaised as error:
            final = failure_of(error, answers.RAISED[self._service], self._performed, _log)
        except InvalidResult as error:
            final = HandlerResult(error.status)
            if error.status == answers.UNKNOWN_DESTINATION:  # a mistake of the peer, or of its configuration
                self._log.info("%s: the move destination is not known", request.message)
            else:
                self._log.error("the handler of %s yielded %s", request.message, error)
        except DestinationLost as error:
            self._lose(error)
        if self._work is not None:
            await self._finish(self._work)
        if final is None or final.status != answers.CANCEL:
            # Sub-operations that were announced, but not yielded or not attempted, count as failed.
            self._counters.failed += self._counters.remaining
        if final is not None:
            return final
        status = self._counters.outcome()
        # A702 alone says Out of Resources, and who reads it looks at the wrong machine (PS3.4 C.4.2.1.5).
        is_told = self._is_lost and status == answers.CANNOT_PERFORM_SUBOPERATIONS
        return HandlerResult(status, fields={"error_comment": _LOST} if is_told else {})

    async def _sub_operations(self, run: HandlerRun) -> HandlerResult | None:
        """Perform what the handler yields, and return its final status; None: the counters decide."""
        request, service = self._request, self._service
        try:
            route: Route = await self._route(run)
            number = await self._number(run)
        except _EndedEarly as ended:
            return ended.result
        except HandlerEnded:
            raise InvalidResult(answers.NOTHING_YIELDED[service], "no number of sub-operations") from None
        self._counters.total = number
        work = self._work = SubOperations(self._performed, request, self._counters, route, self._budgets.payloads)
        attempted = 0
        while True:
            try:
                item = await run.step()
            except HandlerEnded:
                break
            yielded = read_yield(item)
            if yielded.status == answers.SUCCESS:
                break
            if yielded.status not in answers.STILL_PENDING:
                return yielded
            if attempted >= number:
                self._log.warning(
                    "%s: more than the %d instances announced; the rest is not sent", request.message, number
                )
                break
            attempted += 1
            await work.perform(yielded.payload)
        return None

    async def _due(self, run: HandlerRun) -> Any:
        """Return the first or second item that the handler yields. A final status there ends the operation."""
        item = await run.step()
        if isinstance(item, Status):
            raise _EndedEarly(read_status(item))
        return item

    async def _number(self, run: HandlerRun) -> int:
        item = await self._due(run)
        number = as_int(item)
        if number is not None and not 0 <= number <= 0xFFFF:
            number = None
        if number is None:
            raise InvalidResult(
                answers.INVALID_NUMBER[self._service], f"a {type(item).__name__} as number of sub-operations"
            )
        return number

    async def _route(self, run: HandlerRun) -> Route:
        if isinstance(self._request, GetRequest):
            return SameAssociation(self._performed.invoker)
        destination = read_destination(await self._due(run))
        self._stores = StoreAssociations(
            destination,
            self._performed,
            ae_title=destination.calling_ae_title or self._ae_title,
            called_ae_title=self._request.move_destination,
            budgets=self._budgets,
            waits=run.wait,
        )
        return self._stores

    async def _respond(self, final: HandlerResult) -> None:
        message = self._request.message.response(final.status)
        final.apply(message)
        self._counters.apply(message, with_remaining=final.status == answers.CANCEL)
        data = None
        if final.status != answers.SUCCESS and self._counters.failed_uids:
            identifier = Dataset()
            identifier.add(datasets.uid_element("FailedSOPInstanceUIDList", self._listed(self._counters.failed_uids)))
            data = await encode_response(identifier, self._request.context.transfer_syntax)
        await self._performed.respond(message, data)

    def _listed(self, uids: Sequence[str]) -> list[str]:
        """Return as many of the UIDs as an Identifier may have. The others are only counted."""
        most = self._performed.channel.limits.identifier - _HEAD
        sizes = accumulate(len(uid) + 1 for uid in uids)  # with a backslash after each, or padding
        listed = [uid for uid, size in zip(uids, sizes, strict=True) if size <= most]
        if len(listed) < len(uids):
            self._log.warning("%s: %d of %d failed instances are listed", self._request.message, len(listed), len(uids))
        return listed


def read_destination(value: object) -> Destination:
    """Read the first item that a C-MOVE handler yields.

    Raises:
        InvalidResult: It is None (the status is A801), or is not a destination (the status is C515).
    """
    if value is None:
        raise InvalidResult(answers.UNKNOWN_DESTINATION, "no destination: it is not known")
    if isinstance(value, Destination):
        if not isinstance(value.timeouts, Timeouts | None):
            raise InvalidResult(answers.INVALID_DESTINATION, "a Destination whose timeouts are no aiodimse.Timeouts")
        pair: Any = value.host, value.port
    else:
        pair = value
    if isinstance(pair, tuple) and len(pair) == 2:
        host, port = pair
        number = as_int(port)
        if isinstance(host, str) and host and number is not None and 0 < number <= 0xFFFF:
            return value if isinstance(value, Destination) else Destination(host, number)
    raise InvalidResult(answers.INVALID_DESTINATION, f"a {type(value).__name__} that is no (address, port)")
