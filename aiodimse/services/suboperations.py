"""C-GET and C-MOVE as their provider: sub-operations, counters, and one final response (design: section 4)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydicom.dataset import Dataset

from aiodimse import instances
from aiodimse.aio.connection import Connection
from aiodimse.aio.exchange import Exchange
from aiodimse.aio.files import off_loop
from aiodimse.aio.log import escaped
from aiodimse.aio.pen import Payload
from aiodimse.aio.performer import Incoming
from aiodimse.dimse import messages
from aiodimse.dimse.router import PENDING
from aiodimse.errors import (
    AssociationError,
    DatasetDecodeError,
    DatasetEncodeError,
    NoAcceptedContext,
    NotDICOM,
)
from aiodimse.pdu import AcceptedContext
from aiodimse.services.contexts import store_context
from aiodimse.services.destination import Destination, DestinationLost, StoreAssociations
from aiodimse.services.drive import Cancelled, HandlerEnded, HandlerRaised, Run, describe, failure_of
from aiodimse.services.instance import Instance, identified, instance_of
from aiodimse.services.request import GetRequest, MoveRequest
from aiodimse.services.response import EncodedDataset
from aiodimse.services.storage import store_request
from aiodimse.services.yielded import CANCEL, SUCCESS, InvalidYield, Yielded, as_int, read_yield
from aiodimse.services.yielded import PENDING as PENDING_STATUS
from aiodimse.standard import sop_class
from aiodimse.standard.transfer_syntax import ExplicitVRLittleEndian

_log = logging.getLogger("aiodimse.retrieve")

SOME_FAILED, ALL_FAILED, UNKNOWN_DESTINATION = 0xB000, 0xA702, 0xA801
# What the library says of a handler, by service: (raised, invalid number, nothing yielded, invalid destination).
_RAISED = {"C-GET": 0xC411, "C-MOVE": 0xC511}
_INVALID_NUMBER = {"C-GET": 0xC413, "C-MOVE": 0xC513}
_NOTHING_YIELDED = {"C-GET": 0xC413, "C-MOVE": 0xC514}
_INVALID_DESTINATION = 0xC515

_CANNOT_BE_SENT = (NoAcceptedContext, NotDICOM, OSError, DatasetEncodeError, DatasetDecodeError)


@dataclass(slots=True)
class Counters:
    """Numbers of sub-operations; Remaining + Completed + Failed + Warning is the number announced."""

    total: int = 0
    completed: int = 0
    failed: int = 0
    warning: int = 0
    failed_uids: list[str] = field(default_factory=list)

    @property
    def remaining(self) -> int:
        """Those not finished."""
        return self.total - self.completed - self.failed - self.warning

    def count(self, status: int, uid: str) -> None:
        """One sub-operation has ended with this status (PS3.7 C: 0001, 0107, 0116 and Bxxx are Warnings)."""
        if status == SUCCESS:
            self.completed += 1
        elif status in (0x0001, 0x0107, 0x0116) or status >> 12 == 0xB:
            self.warning += 1
        else:
            self.fail(uid)

    def fail(self, uid: str) -> None:
        """One sub-operation has failed; its UID where it is known."""
        self.failed += 1
        if uid:
            self.failed_uids.append(uid)

    def outcome(self) -> int:
        """The final status that the counters give."""
        if self.completed == self.total:
            return SUCCESS
        return ALL_FAILED if self.failed == self.total else SOME_FAILED

    def apply(self, response: messages.Response, *, with_remaining: bool) -> None:
        """Write the counters into a response."""
        assert isinstance(response, messages.SuboperationsResponse)
        if with_remaining:
            response.number_of_remaining_suboperations = self.remaining
        response.number_of_completed_suboperations = self.completed
        response.number_of_failed_suboperations = self.failed
        response.number_of_warning_suboperations = self.warning


def not_started(request: messages.Request) -> messages.Response:
    """FE00 for a request whose handler has not been called; with counters where its service has some."""
    response = request.response(CANCEL)
    if isinstance(response, messages.SuboperationsResponse):
        Counters().apply(response, with_remaining=True)
    return response


class Route(Protocol):
    """Which association and context carry a sub-operation."""

    async def context_for(
        self, instance: Instance, finish: Callable[[], Awaitable[None]]
    ) -> tuple[Connection, AcceptedContext]: ...


class SameAssociation:
    """C-GET: the association of the request."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def context_for(
        self, instance: Instance, finish: Callable[[], Awaitable[None]]
    ) -> tuple[Connection, AcceptedContext]:
        """Raises NoAcceptedContext."""
        negotiated = self._connection.engine.negotiated
        assert negotiated is not None
        return self._connection, store_context(negotiated, instance.sop_class_uid, instance.transfer_syntax)


class SubOperations:
    """The sub-operations of one request, as many at once as the window of their association has places."""

    def __init__(self, incoming: Incoming, request: GetRequest | MoveRequest, counters: Counters, route: Route) -> None:
        self._incoming, self._request, self._counters, self._route = incoming, request, counters, route
        self._under_way: deque[tuple[Exchange, str]] = deque()
        self._finishing = asyncio.Lock()
        message = request.message
        is_move = isinstance(message, messages.CMoveRQ)
        self._originator = _ae_title(request.association.calling_ae_title) if is_move else None
        self._originator_id = message.message_id if is_move else None
        self._priority = request.priority
        self._without_bulk_data = request.sop_class_uid == sop_class.CompositeInstanceRetrieveWithoutBulkDataGet

    async def perform(self, payload: Any) -> None:
        """Start one sub-operation; first wait for the oldest where the window is full. Whatever keeps it from being
        sent is its own failure; DestinationLost is that of all the rest."""
        uid = _uid_of(payload)
        try:
            instance = await self._instance(payload)
            uid = instance.sop_instance_uid
            connection, context = await self._route.context_for(instance, self.finish)
            while len(self._under_way) >= connection.engine.router.invoked_window:
                await self._finish_oldest()
            data = await instance.encoded(context.transfer_syntax)
            request = store_request(instance, self._priority, self._originator, self._originator_id)
            exchange = await self._invoke(connection, context, request, data)
        except DestinationLost:
            self._counters.fail(uid)
            raise
        except Exception as error:
            # The text of these names files, UIDs and transfer syntaxes, not values; that of others may.
            text = error if isinstance(error, _CANNOT_BE_SENT) else describe(error)
            log, name = self._incoming.logger(_log), escaped(uid) or "?"
            log.warning("sub-operation of %s for %s failed: %s", self._request.message, name, text)
            await self._finished(lambda: self._counters.fail(uid))
            return
        self._under_way.append((exchange, uid))
        if len(self._under_way) >= connection.engine.router.invoked_window:
            await self._finish_oldest()

    @staticmethod
    async def _invoke(
        connection: Connection,
        context: AcceptedContext,
        request: messages.CStoreRQ,
        data: Payload,
    ) -> Exchange:
        timeout = connection.timeouts.response
        try:
            return await connection.invoker.invoke(context.context_id, request, data, timeout=timeout)
        except AssociationError as error:
            raise DestinationLost(str(error)) from error

    async def _instance(self, payload: Any) -> Instance:
        if isinstance(payload, EncodedDataset):
            uids = instances.first_uids(payload.data, payload.transfer_syntax)
            return identified(_EncodedInstance(*uids, payload.transfer_syntax, payload.data))
        instance = await instance_of(payload)
        if not self._without_bulk_data:
            return instance
        return await off_loop(_without_bulk_data, instance, await instance.dataset())

    async def finish(self) -> None:
        """Wait for and count what is under way."""
        async with self._finishing:
            while self._under_way:
                await self._finish_oldest()

    async def _finish_oldest(self) -> None:
        exchange, uid = self._under_way.popleft()
        try:
            response, _ = await exchange.next()
        except AssociationError as error:
            exchange.leave()
            self._counters.fail(uid)
            for _, other in self._under_way:
                self._counters.fail(other)
            self._under_way.clear()
            raise DestinationLost(str(error)) from error
        except asyncio.CancelledError:
            exchange.leave()
            raise
        await self._finished(lambda: self._counters.count(response.status, uid))

    async def _finished(self, count: Callable[[], None]) -> None:
        """Count, and tell in a Pending response, but for the last: that is told by the final one."""
        count()
        if self._counters.remaining and not self._request.is_cancelled:
            message = self._request.message.response(PENDING_STATUS)
            self._counters.apply(message, with_remaining=True)
            await self._incoming.respond(message)


class _EncodedInstance(Instance):
    """An instance that a handler has encoded."""

    def __init__(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str, data: bytes) -> None:
        super().__init__(sop_class_uid, sop_instance_uid, transfer_syntax)
        self._data = data

    async def _stream(self) -> Any:
        yield self._data

    def stream(self) -> Any:
        """The bytes."""
        return self._stream()

    async def dataset(self) -> Dataset:
        """The bytes, decoded."""
        return await off_loop(instances.decode_dataset, self._data, self.transfer_syntax)


def _without_bulk_data(instance: Instance, dataset: Dataset) -> Instance:
    """The instance of PS3.4 Annex Z. Without its pixels a compressed one is Explicit VR Little Endian like others,
    unless an icon is compressed as well."""
    stripped = instances.without_bulk_data(dataset)
    transfer_syntax = instance.transfer_syntax
    if not instances.can_transcode(transfer_syntax, transfer_syntax):
        transfer_syntax = ExplicitVRLittleEndian
    try:
        data = instances.encode_dataset(stripped, transfer_syntax)
    except DatasetEncodeError:
        transfer_syntax, data = instance.transfer_syntax, instances.encode_stored(stripped)
    return _EncodedInstance(instance.sop_class_uid, instance.sop_instance_uid, transfer_syntax, data)


def _ae_title(title: str) -> str | None:
    """The title, where a command set can hold it (PS3.5 6.2): a peer may call itself anything."""
    return title if title.isascii() and title.isprintable() and "\\" not in title else None


def _uid_of(payload: Any) -> str:
    """The SOP Instance UID of what a handler yielded, as far as that is known without opening it."""
    if isinstance(payload, Instance):
        return payload.sop_instance_uid
    if isinstance(payload, Dataset):
        return str(payload.get("SOPInstanceUID", "") or "")
    return ""


# --- the two services -------------------------------------------------------------------------------------------------


async def provide_get(incoming: Incoming, request: GetRequest, handler: Callable[[Any], Any]) -> None:
    """Run a C-GET handler to its one final response."""
    await _Retrieve(incoming, request, handler).run()


async def provide_move(
    incoming: Incoming, request: MoveRequest, handler: Callable[[Any], Any], *, ae_title: str
) -> None:
    """Run a C-MOVE handler to its one final response. ae_title: who calls the destination."""
    await _Retrieve(incoming, request, handler, ae_title=ae_title).run()


class _Retrieve:
    """One C-GET or C-MOVE request."""

    def __init__(
        self, incoming: Incoming, request: GetRequest | MoveRequest, handler: Callable[[Any], Any], ae_title: str = ""
    ) -> None:
        self._incoming, self._request, self._handler = incoming, request, handler
        self._ae_title = ae_title
        self._service = request.message.service
        self._counters = Counters()
        self._stores: StoreAssociations | None = None
        self._work: SubOperations | None = None
        self._log = incoming.logger(_log)

    async def run(self) -> None:
        """From the handler's first step to the final response."""
        async with Run(self._incoming, self._request, self._give_up) as run:
            try:
                final = await self._outcome(run)
                await run.close()  # the handler's finally comes before the final response
                await self._respond(final)
            except BaseException:
                if self._stores is not None:
                    self._stores.abort()
                raise
            if self._stores is not None:
                await self._stores.release()

    async def _give_up(self) -> None:
        """The handler does not end: FE00 without it, once what is under way is finished and counted."""
        if self._work is not None:
            await self._finish(self._work)
        await self._respond(Yielded(CANCEL))
        if self._stores is not None:
            await self._stores.release()

    async def _finish(self, work: SubOperations) -> None:
        try:
            await work.finish()
        except DestinationLost as error:
            self._log.warning("%s: %s", self._request.message, error)

    async def _outcome(self, run: Run) -> Yielded:
        """The final status, by what the handler does and by the counters."""
        request = self._request
        final: Yielded | None = None
        try:
            await run.begin(self._handler)
            final = await self._sub_operations(run)
        except Cancelled:
            final = Yielded(CANCEL)
        except HandlerRaised as error:
            final = failure_of(error, _RAISED[self._service], self._incoming, _log)
        except InvalidYield as error:
            final = Yielded(error.status)
            if error.status == UNKNOWN_DESTINATION:  # the peer's mistake, or its configuration's
                self._log.info("%s: the move destination is not known", request.message)
            else:
                self._log.error("the handler of %s yielded %s", request.message, error)
        except DestinationLost as error:
            self._log.warning("%s: %s", request.message, error)
        if self._work is not None:
            await self._finish(self._work)
        if final is None or final.status != CANCEL:
            # What was not attempted, or announced and not yielded, counts as failed.
            self._counters.failed += self._counters.remaining
        return final or Yielded(self._counters.outcome())

    async def _sub_operations(self, run: Run) -> Yielded | None:
        """The status that the handler ends with; None: what the counters say."""
        request, service = self._request, self._service
        try:
            route: Route = await self._route(run)
            number = await self._number(run)
        except HandlerEnded:
            raise InvalidYield(_NOTHING_YIELDED[service], "no number of sub-operations") from None
        self._counters.total = number
        work = self._work = SubOperations(self._incoming, request, self._counters, route)
        attempted = 0
        while True:
            try:
                item = await run.step()
            except HandlerEnded:
                break
            yielded = read_yield(item)
            if yielded.status == SUCCESS:
                break
            if yielded.status not in PENDING:
                return yielded
            if attempted >= number:
                self._log.warning(
                    "%s: more than the %d instances announced; the rest is not sent", request.message, number
                )
                break
            attempted += 1
            await work.perform(yielded.payload)
        return None

    async def _number(self, run: Run) -> int:
        item = await run.step()
        number = as_int(item)
        if number is not None and not 0 <= number <= 0xFFFF:
            number = None
        if number is None:
            raise InvalidYield(_INVALID_NUMBER[self._service], f"a {type(item).__name__} as number of sub-operations")
        return number

    async def _route(self, run: Run) -> Route:
        connection = self._incoming.connection
        if isinstance(self._request, GetRequest):
            return SameAssociation(connection)
        destination = read_destination(await run.step())
        self._stores = StoreAssociations(
            destination,
            ae_title=self._ae_title,
            called_ae_title=self._request.move_destination,
            setup=connection.setup,
        )
        return self._stores

    async def _respond(self, final: Yielded) -> None:
        message = self._request.message.response(final.status)
        final.apply(message)
        self._counters.apply(message, with_remaining=final.status == CANCEL)
        data = None
        if final.status != SUCCESS and self._counters.failed_uids:
            identifier = Dataset()
            identifier.FailedSOPInstanceUIDList = self._counters.failed_uids
            data = instances.encode_dataset(identifier, self._request.context.transfer_syntax)
        await self._incoming.respond(message, data)


def read_destination(value: object) -> Destination:
    """What a C-MOVE handler yields first; raises InvalidYield with A801 for None, C515 for what is no destination."""
    if value is None:
        raise InvalidYield(UNKNOWN_DESTINATION, "no destination: it is not known")
    if isinstance(value, Destination):
        pair: Any = value.host, value.port
    else:
        pair = value
    if isinstance(pair, tuple) and len(pair) == 2:
        host, port = pair
        number = as_int(port)
        if isinstance(host, str) and host and number is not None and 0 < number <= 0xFFFF:
            return value if isinstance(value, Destination) else Destination(host, number)
    raise InvalidYield(_INVALID_DESTINATION, f"a {type(value).__name__} that is no (address, port)")
