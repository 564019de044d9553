"""C-GET and C-MOVE on the user's side (PS3.4 C.4.2, C.4.3; PS3.7 9.1.3, 9.1.4)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pydicom.dataset import Dataset

from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.invoked import InvokedOperation
from aiodimse.aio.performer import PerformedOperation
from aiodimse.dimse import messages
from aiodimse.errors import DatasetDecodeError, IncompleteRetrieval
from aiodimse.services.arriving import ArrivingInstance
from aiodimse.services.association import ProviderAssociation
from aiodimse.services.decoding import decoded_identifier
from aiodimse.services.response import Identifier, Progress, Response, progress_of, response_of
from aiodimse.services.user.arrivals import Arrivals, refuse
from aiodimse.services.user.operation import Operation, T

_log = logging.getLogger("aiodimse.retrieve")


class Retrieval(Operation[T]):
    """The common part of C-GET and C-MOVE: counters."""

    def __init__(
        self,
        endpoint: Endpoint,
        identifier: Identifier,
        sop_class_uid: str | None,
        priority: int,
        *,
        allow_incomplete: bool,
    ) -> None:
        super().__init__(endpoint, identifier, sop_class_uid, priority)
        self._allow_incomplete = allow_incomplete
        self.progress: Progress | None = None
        """The counters of the last response that has some; None before that."""
        self.failed_sop_instance_uids: tuple[str, ...] = ()
        """Failed SOP Instance UID List (0008,0058) of the final response."""

    def _check(self, response: Response) -> None:
        try:
            response.raise_for_status()
        except IncompleteRetrieval:
            if not self._allow_incomplete:
                raise

    def _note(self, response: messages.Response) -> None:
        super()._note(response)
        self.progress = progress_of(response)

    async def _final(self, response: messages.Response, data: bytes | None) -> Response:
        assert self._invoked is not None
        assert self._context is not None
        self._note(response)
        if data:
            try:
                dataset = await decoded_identifier(data, self._context.transfer_syntax, self._endpoint)
                self.failed_sop_instance_uids = failed_uids(dataset)
            except DatasetDecodeError as error:
                log = self._endpoint.logger(_log, response.message_id_being_responded_to)
                log.warning("the data set of a final %s does not decode: %s", response.name, error)
        return response_of(
            self._invoked.operation.request,
            response,
            peer=self._endpoint.peer,
            failed_sop_instance_uids=self.failed_sop_instance_uids,
        )


def failed_uids(dataset: Dataset) -> tuple[str, ...]:
    """Return Failed SOP Instance UID List (0008,0058). Its VR may be UI or UN (PS3.5 6.2.2)."""
    if "FailedSOPInstanceUIDList" not in dataset:
        return ()
    value = dataset["FailedSOPInstanceUIDList"].value
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").rstrip("\0 ").split("\\")
    if not value:
        return ()
    return (str(value),) if isinstance(value, str) else tuple(map(str, value))


class Move(Retrieval[Progress]):
    """A C-MOVE of ours. Iterating it yields the Progress of each Pending response.

    A peer need not send any Pending response (PS3.4 C.4.2.3.1).
    """

    _service = "C-MOVE"

    def __init__(
        self,
        endpoint: Endpoint,
        identifier: Identifier,
        sop_class_uid: str | None,
        *,
        destination: str,
        priority: int,
        allow_incomplete: bool = False,
    ) -> None:
        super().__init__(endpoint, identifier, sop_class_uid, priority, allow_incomplete=allow_incomplete)
        self._destination = destination

    def _make(self) -> messages.Request:
        return messages.CMoveRQ(
            message_id=0,
            affected_sop_class_uid=self._uid,
            move_destination=self._destination,
            priority=self._priority,
        )

    async def _take(self, response: messages.Response, data: bytes | None) -> Progress | None:
        self._note(response)
        return self.progress


class ReceivingRetrieval(Retrieval[ArrivingInstance]):
    """The common part of retrievals whose instances arrive here: a C-GET, and a C-MOVE to ourselves.

    Each sub-operation is answered when the next instance is requested, by what was done with its instance.
    """

    _arrivals: Arrivals
    """Set by each of them."""

    def _receive(self, performed: PerformedOperation, association: ProviderAssociation) -> bool:
        """Take a C-STORE sub-operation, to be handed out in turn. It is refused if the operation was left.

        Args:
            performed: The C-STORE.
            association: The association of the C-STORE.

        Returns:
            Whether it was taken.
        """
        invoked = self._invoked
        if invoked is not None and invoked.is_left:
            refuse(performed)
            return False
        self._arrivals.add(performed, association)
        if invoked is not None:
            invoked.renew()
            invoked.wake()
        return True

    @property
    def missing(self) -> int:
        """The number of instances that the peer counts as stored and that have not arrived.

        After an iteration without an error it should be 0. Otherwise the peer has sent instances elsewhere (it has
        another address for our AE title, or another program received them), or counts some that it could not send. It
        is 0 for a C-GET that is not iterated.
        """
        progress = self.progress
        counted = 0 if progress is None else (progress.completed or 0) + (progress.warning or 0)
        return max(0, counted - self._number_arrived(counted))

    def _number_arrived(self, counted: int) -> int:
        """Return how many of the instances that the peer counts have arrived."""
        raise NotImplementedError

    def _log_missing(self) -> None:
        if self.missing and self._invoked is not None:
            log = self._endpoint.logger(_log, self._invoked.operation.message_id)
            log.warning("the peer counts %d more instances as stored than have arrived", self.missing)

    async def _step(self) -> ArrivingInstance | None:
        """Wait for an instance or a response."""
        await self._arrivals.answer_current()
        invoked = await self._begun()
        await invoked.wait(lambda: bool(self._arrivals))
        # Pending responses are read first. If instances always came before them, the responses would accumulate and
        # stop our reading.
        if self._arrivals and not invoked.has_pending:
            return self._arrivals.next()
        return await super()._step()

    async def _take(self, response: messages.Response, data: bytes | None) -> ArrivingInstance | None:
        self._note(response)
        return None

    def _leave(self) -> None:
        super()._leave()
        self._arrivals.refuse_all()


class Get(ReceivingRetrieval):
    """A C-GET of ours. Iterating it yields the instances as they arrive.

    Each C-STORE sub-operation is answered when the next instance is requested: with 0x0000 if its instance was saved,
    decoded, streamed to its end or discarded, otherwise with 0x0110. When the loop is left, the last one is answered
    with 0x0000 if it was consumed, otherwise with 0xA700.
    """

    _service = "C-GET"

    def __init__(
        self,
        endpoint: Endpoint,
        identifier: Identifier,
        sop_class_uid: str | None,
        *,
        priority: int,
        allow_incomplete: bool,
        association: ProviderAssociation,
        on_start: Callable[[Get], None],
    ) -> None:
        """Prepare the C-GET. `on_start` is called before the request is sent, and may raise LocalProtocolError."""
        super().__init__(endpoint, identifier, sop_class_uid, priority, allow_incomplete=allow_incomplete)
        self._association, self._on_start = association, on_start
        self._arrivals = Arrivals()
        self._came = 0
        self.is_iterated: bool = False
        """Whether the instances are iterated. If not, a C-STORE handler of the association may take them."""

    def _make(self) -> messages.Request:
        return messages.CGetRQ(message_id=0, affected_sop_class_uid=self._uid, priority=self._priority)

    async def _send(self) -> InvokedOperation:
        self._on_start(self)
        return await super()._send()

    # --- for the association ------------------------------------------------------------------------------------------

    @property
    def is_starting(self) -> bool:
        """Whether its request is about to be sent."""
        return self._starting.locked()

    @property
    def is_running(self) -> bool:
        """Whether C-STORE requests that arrive now are its sub-operations."""
        return self._invoked is not None and self._invoked.is_open

    @property
    def is_left(self) -> bool:
        """Whether nobody takes the instances any more."""
        return self._invoked is not None and self._invoked.is_left

    def offer(self, performed: PerformedOperation) -> None:
        """Take a C-STORE sub-operation. It is handed out in turn, or refused if the operation was left.

        Args:
            performed: The C-STORE.
        """
        if self._receive(performed, self._association):
            self._came += 1

    # --- for its user -------------------------------------------------------------------------------------------------

    async def __anext__(self) -> ArrivingInstance:
        self.is_iterated = True
        return await super().__anext__()

    async def _final(self, response: messages.Response, data: bytes | None) -> Response:
        final = await super()._final(response, data)
        self._log_missing()
        return final

    def _number_arrived(self, counted: int) -> int:
        return self._came if self.is_iterated else counted
