"""The C-STORE sub-operations of a C-GET or C-MOVE that we perform, and their counters.

See docs/topics/query-retrieve.md.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import field
from functools import partial
from typing import Any, Protocol

from pydicom.dataset import Dataset

from aiodimse import datasets
from aiodimse.aio.files import read_off_loop
from aiodimse.aio.interrupt import is_own_cancellation
from aiodimse.aio.invoked import InvokedOperation
from aiodimse.aio.invoker import Invoker
from aiodimse.aio.payload import Payload
from aiodimse.aio.performer import PerformedOperation
from aiodimse.aio.signals import Signal
from aiodimse.dimse import messages
from aiodimse.errors import (
    AssociationError,
    DatasetDecodeError,
    DatasetEncodeError,
    InstanceConflict,
    NoAcceptedContext,
    NotDICOM,
)
from aiodimse.pdu import AcceptedContext
from aiodimse.record import record
from aiodimse.services.contexts import store_context
from aiodimse.services.instance import Instance, ReferencedFile
from aiodimse.services.provider.budgets import NoRoom, Payloads, Share
from aiodimse.services.provider.destination import DestinationLost
from aiodimse.services.provider.encoded_instance import EncodedInstance, without_bulk_data
from aiodimse.services.provider.handler_run import Cancelled, describe, text_if_ours
from aiodimse.services.recompression import payload_of
from aiodimse.services.request import GetRequest, MoveRequest
from aiodimse.services.response import EncodedDataset
from aiodimse.services.sources import identified, instance_of
from aiodimse.services.store_request import store_request
from aiodimse.standard import answers, sop_class
from aiodimse.standard.service_class import STORAGE
from aiodimse.standard.status import Category, category
from aiodimse.standard.values import escaped, is_ae_title

_log = logging.getLogger("aiodimse.retrieve")

_NAME_NO_VALUE = (NoAcceptedContext, DatasetEncodeError, DatasetDecodeError, InstanceConflict, NoRoom)
"""Exceptions whose texts, where the library raises them, name UIDs, tags and transfer syntaxes, but no values."""


@record
class Counters:
    """The numbers of sub-operations. Remaining, Completed, Failed and Warning add up to the number announced."""

    total: int = 0
    completed: int = 0
    failed: int = 0
    warning: int = 0
    failed_uids: list[str] = field(default_factory=list)

    @property
    def remaining(self) -> int:
        """The number of sub-operations that have not finished."""
        return self.total - self.completed - self.failed - self.warning

    def count(self, status: int, uid: str) -> None:
        """Count a sub-operation that has ended with a status."""
        if status == answers.SUCCESS:
            self.completed += 1
        elif category(status, STORAGE, "C-STORE") is Category.WARNING:
            self.warning += 1
        else:
            self.fail(uid)

    def fail(self, uid: str) -> None:
        """Count a sub-operation that has failed, and keep its UID if that is known."""
        self.failed += 1
        if uid:
            self.failed_uids.append(uid)

    def outcome(self) -> int:
        """Return the final status that follows from the counters."""
        if self.completed == self.total:
            return answers.SUCCESS
        if self.failed == self.total:
            return answers.CANNOT_PERFORM_SUBOPERATIONS
        return answers.SOME_FAILED

    def apply(self, response: messages.Response, *, with_remaining: bool) -> None:
        """Write the counters into a response."""
        assert isinstance(response, messages.SuboperationsResponse)
        if with_remaining:
            response.number_of_remaining_suboperations = self.remaining
        response.number_of_completed_suboperations = self.completed
        response.number_of_failed_suboperations = self.failed
        response.number_of_warning_suboperations = self.warning


class Route(Protocol):
    """Decides which association and context carry a sub-operation."""

    async def context_for(
        self, instance: Instance, finish: Callable[[], Awaitable[None]]
    ) -> tuple[Invoker, AcceptedContext]:
        """Return an association and a context that can carry an instance."""

    def survives(self, invoker: Invoker, error: BaseException) -> bool:
        """Return whether the remaining instances can be sent although this association has ended with this error."""


class SameAssociation:
    """The route of a C-GET: the association of the request."""

    def __init__(self, invoker: Invoker) -> None:
        self._invoker = invoker

    async def context_for(
        self, instance: Instance, finish: Callable[[], Awaitable[None]]
    ) -> tuple[Invoker, AcceptedContext]:
        """Return the context for an instance.

        Raises:
            NoAcceptedContext: There is no such context.
        """
        channel = self._invoker.channel
        negotiated, transcode = channel.engine.negotiated, channel.settings.transcode
        assert negotiated is not None
        kind = (instance.sop_class_uid, instance.transfer_syntax)
        return self._invoker, store_context(negotiated, *kind, transcode=transcode)

    def survives(self, invoker: Invoker, error: BaseException) -> bool:
        """Return False, since the requestor itself is gone."""
        return False


@record(frozen=True)
class _UnderWay:
    """A sub-operation whose response has not been counted."""

    invoker: Invoker
    invoked: InvokedOperation
    uid: str


class _LostWhileSent(DestinationLost):
    """The association was lost while the request of a sub-operation was sent on it."""

    def __init__(self, invoker: Invoker, error: AssociationError) -> None:
        super().__init__(str(error))
        self.invoker, self.error = invoker, error


class SubOperations:
    """The sub-operations of one request. As many run at a time as the operations window of their association allows.

    The handler is one instance ahead: its next file is read while this one is sent (docs/topics/flow.md). One task, the
    collector, receives the responses, counts them and informs the requestor, independently of the handler.
    """

    def __init__(
        self,
        performed: PerformedOperation,
        request: GetRequest | MoveRequest,
        counters: Counters,
        route: Route,
        payloads: Payloads,
    ) -> None:
        self._performed, self._request, self._counters, self._route = performed, request, counters, route
        self._payloads = payloads
        self._under_way: deque[_UnderWay] = deque()
        self._collector: asyncio.Task[None] | None = None
        self._fewer = Signal()
        """Woken when a sub-operation under way has been counted."""
        self._lost: DestinationLost | None = None
        message = request.message
        is_move = isinstance(message, messages.CMoveRQ)
        self._originator = _ae_title(request.association.calling_ae_title) if is_move else None
        self._originator_id = message.message_id if is_move else None
        self._priority = request.priority
        self._without_bulk_data = request.sop_class_uid == sop_class.CompositeInstanceRetrieveWithoutBulkDataGet

    async def perform(self, payload: Any) -> None:
        """Start one sub-operation when the window has a place for it. Its instance is opened and read before that.

        An instance that cannot be sent counts as failed. DestinationLost is raised if the remaining ones cannot be sent
        either, and Cancelled if C-CANCEL arrived before it was sent.
        """
        uid = _uid_of(payload)
        try:
            instance = await self._instance(payload)
            uid = _uid_of(instance) or uid
            under_way = await self._start(instance)
        except Cancelled:
            raise
        except _LostWhileSent as lost:
            self._counters.fail(uid)
            if not self._route.survives(lost.invoker, lost.error):
                raise DestinationLost(str(lost)) from lost.__cause__
            await self._send_pending()
            return
        except DestinationLost:
            if not (self._under_way or self._lost):  # otherwise it is counted together with those under way
                self._counters.fail(uid)
            raise
        except (Exception, asyncio.CancelledError) as error:
            if is_own_cancellation(error):
                raise
            log, name = self._performed.logger(_log), escaped(uid) or "?"
            log.warning("sub-operation of %s for %s failed: %s", self._request.message, name, _why(error))
            await self._fewer_than(1)  # so that failures are counted in order
            self._counters.fail(uid)
            await self._send_pending()
            return
        self._under_way.append(under_way)
        if self._collector is None:
            collector = self._performed.channel.tasks.spawn(self._collect(), "aiodimse sub-operations")
            # A task that starts eagerly (Python 3.12) may be done already, if the response was there.
            self._collector = None if collector.done() else collector

    async def _start(self, instance: Instance) -> _UnderWay:
        """Send the request of a sub-operation. If its association is lost before that begins, another one is used."""
        while True:
            invoker, context = await self._route.context_for(instance, self.finish)
            share = self._payloads.share(invoker.channel)
            try:
                data = await self._encoded(invoker, context, instance, share)
                request = store_request(instance, self._priority, self._originator, self._originator_id)
                await self._fewer_than(invoker.channel.engine.router.invoked_window)
                if self._request.is_cancelled:
                    raise Cancelled
                if invoker.channel.error is not None:
                    raise DestinationLost("the destination has gone") from invoker.channel.error
                return _UnderWay(
                    invoker, await self._invoke(invoker, context, request, data), instance.sop_instance_uid
                )
            except _LostWhileSent:
                raise
            except DestinationLost as lost:
                if self._lost is not None or not self._route.survives(invoker, lost.__cause__ or lost):
                    raise
            finally:
                data = None
                share.give_back()

    @staticmethod
    async def _encoded(invoker: Invoker, context: AcceptedContext, instance: Instance, share: Share) -> Payload:
        channel = invoker.channel
        try:
            with channel.while_open():
                room = partial(share.take, clock=channel.clock, timeout=channel.timeouts.response)
                return await payload_of(instance, context.transfer_syntax, channel, room)
        except AssociationError as error:
            if invoker.channel.error is None:
                raise  # another association has ended, from which the instance comes
            raise DestinationLost(str(error)) from error

    @staticmethod
    async def _invoke(
        invoker: Invoker,
        context: AcceptedContext,
        request: messages.CStoreRQ,
        data: Payload,
    ) -> InvokedOperation:
        timeout = invoker.channel.timeouts.response
        try:
            return await invoker.invoke(context.context_id, request, data, timeout=timeout)
        except AssociationError as error:
            raise _LostWhileSent(invoker, error) from error

    async def _instance(self, payload: Any) -> Instance:
        if isinstance(payload, EncodedDataset):
            uids = datasets.first_uids(payload.data, payload.transfer_syntax)
            return identified(EncodedInstance(*uids, payload.transfer_syntax, payload.data))
        instance = await instance_of(payload, self._performed.channel.limits)
        if not self._without_bulk_data:
            return instance
        channel, share = self._performed.channel, self._payloads.share(self._performed.channel)
        try:
            await share.take(instance.held_to_decode(), channel.clock, channel.timeouts.response)
            return await read_off_loop(without_bulk_data, instance, await instance.dataset())
        finally:
            share.give_back()

    # --- the collector ------------------------------------------------------------------------------------------------

    async def _collect(self) -> None:
        """Receive and count the responses of the sub-operations under way, in order, until there are none."""
        try:
            while self._under_way:
                first = self._under_way[0]
                try:
                    response, _ = await first.invoked.next()
                except AssociationError as error:
                    self._fail_all_of(first.invoker)
                    if not self._route.survives(first.invoker, error):
                        self._lost = DestinationLost(str(error))
                        self._lost.__cause__ = error
                        return
                    self._fewer.wake()
                    await self._send_pending()
                    continue
                self._counters.count(response.status, first.uid)
                self._under_way.popleft()
                self._fewer.wake()
                await self._send_pending()
        finally:
            self._collector = None
            for rest in self._under_way:
                rest.invoked.leave()
            self._fewer.wake()

    def _fail_all_of(self, invoker: Invoker) -> None:
        """Count all sub-operations under way on an association as failed, since no more responses will arrive."""
        for lost in [one for one in self._under_way if one.invoker is invoker]:
            self._under_way.remove(lost)
            lost.invoked.leave()
            self._counters.fail(lost.uid)

    async def _fewer_than(self, number: int) -> None:
        while len(self._under_way) >= number and self._collector is not None:
            await self._fewer.wait()
        if self._lost is not None:
            raise self._lost

    async def finish(self) -> None:
        """Wait until everything under way has been counted and reported.

        Raises:
            DestinationLost: The destination was lost.
        """
        while (collector := self._collector) is not None:
            await asyncio.wait([collector])
        if self._lost is not None:
            raise self._lost

    def abandon(self) -> None:
        """Stop everything, since the requestor is gone."""
        if self._collector is not None:
            self._collector.cancel()

    async def _send_pending(self) -> None:
        """Send a Pending response after a sub-operation, except after the last, which the final response reports."""
        if self._counters.remaining and not self._request.is_cancelled:
            message = self._request.message.response(answers.PENDING)
            self._counters.apply(message, with_remaining=True)
            await self._performed.respond(message)


def _ae_title(title: str) -> str | None:
    """Return an AE title if a command set can contain it (PS3.5 6.2); the title of a peer may be anything."""
    return title if is_ae_title(title) else None


def _why(error: BaseException) -> str:
    """Say for the log why an instance cannot be sent, without values, and without paths, which may name patients."""
    if isinstance(error, _NAME_NO_VALUE):
        return text_if_ours(error)
    if isinstance(error, NotDICOM):
        return "its file is not DICOM"
    if isinstance(error, OSError) and error.errno is not None:
        return f"it cannot be read: {os.strerror(error.errno).lower()}"
    return describe(error)


def _uid_of(payload: Any) -> str:
    """Return the SOP Instance UID of what a handler yielded, if it is known without opening it."""
    uid: object = ""
    if isinstance(payload, (Instance, ReferencedFile)):
        uid = getattr(payload, "sop_instance_uid", "")  # a subclass may not have called Instance.__init__
    elif isinstance(payload, Dataset):
        uid = str(payload.get("SOPInstanceUID", "") or "")
    return uid if isinstance(uid, str) else ""
