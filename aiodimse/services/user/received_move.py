"""A C-MOVE of ours whose instances arrive at a server of ours (PS3.4 C.4.2)."""

from __future__ import annotations

from contextlib import ExitStack

from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.hooks import spanning
from aiodimse.aio.invoked import InvokedOperation
from aiodimse.aio.performer import PerformedOperation
from aiodimse.aio.signals import Signal
from aiodimse.dimse import messages
from aiodimse.services.arriving import ArrivingInstance
from aiodimse.services.association import ProviderAssociation
from aiodimse.services.invocation import negotiated_on
from aiodimse.services.open_moves import MoveReceiver
from aiodimse.services.response import Identifier, Response
from aiodimse.services.user.arrivals import Arrivals
from aiodimse.services.user.retrieve import ReceivingRetrieval


class ReceivedMove(ReceivingRetrieval):
    """A C-MOVE to ourselves. Iterating it yields the instances as they arrive at the receiver, like a C-GET.

    A sub-operation belongs to this move by its Move Originator AE title and message ID. It is answered when the next
    instance is requested: with 0x0000 if its instance was saved, decoded, streamed to its end or discarded, otherwise
    with 0x0110. Instances that the final response counts as completed and that have not arrived by then are awaited for
    at most `Timeouts.move_settle` seconds.
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
        allow_incomplete: bool,
        receiver: MoveReceiver,
    ) -> None:
        super().__init__(endpoint, identifier, sop_class_uid, priority, allow_incomplete=allow_incomplete)
        self._destination, self._moves = destination, receiver.open_moves
        self._arrivals, self._arrived = Arrivals(), Signal()
        self._came: set[str] = set()
        self._finished: Response | None = None
        self._settle_by: float | None = None
        self._began: float | None = None
        self._span = ExitStack()
        self._is_told = False
        negotiated = negotiated_on(endpoint)
        self._peer_title = negotiated.called_ae_title
        self.originator: str = negotiated.calling_ae_title
        """Our AE title, by which the peer names the originator of the move."""
        self._request: messages.CMoveRQ | None = None

    @property
    def message_id(self) -> int:
        """The Message ID of the C-MOVE; 0 before its request is made.

        Another operation may take it while the request waits for a place in the operations window. The request then
        gets another one when it is sent.
        """
        return 0 if self._request is None else self._request.message_id

    def _make(self) -> messages.Request:
        self._request = messages.CMoveRQ(
            message_id=self._moves.new_message_id(self.originator, self._endpoint.engine.router.invoked),
            affected_sop_class_uid=self._uid,
            move_destination=self._destination,
            priority=self._priority,
        )
        return self._request

    async def _send(self) -> InvokedOperation:
        self._moves.add(self)  # the first instance may arrive before we know that the request was sent
        self._began = self._endpoint.clock.now()
        self._span.enter_context(spanning(self._endpoint.metrics, "dicom.move", {"peer": self._peer_title}))
        try:
            return await super()._send()
        except BaseException:
            self._moves.discard(self)
            self._report_end()
            raise

    def _report_end(self) -> None:
        """Report the end to the metrics, once."""
        if self._is_told or self._began is None:
            return
        self._is_told = True
        self._span.close()
        endpoint = self._endpoint
        if endpoint.metrics is not None:
            seconds = endpoint.clock.now() - self._began
            endpoint.metrics.move_ended(endpoint.measured, len(self._came), self.missing, seconds)

    # --- for the receiver ---------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether no more instances of it are expected."""
        if self._response is not None:
            return True
        if self._invoked is not None and self._invoked.is_left and not self._invoked.is_open:
            return True
        if self._finished is None:
            return not self._endpoint.is_open  # then its final response will never be received
        # Perhaps nobody iterates it any more.
        return self._settle_by is not None and self._endpoint.clock.now() >= self._settle_by

    def asked(self, association: ProviderAssociation) -> bool:
        """Return whether the requestor of an association is the peer to which this C-MOVE was sent.

        Args:
            association: The association of a C-STORE.
        """
        if association.calling_ae_title == self._peer_title:
            return True
        here, there = self._endpoint.peer_address, association.peer_address
        return here is not None and there is not None and here[0] == there[0]

    def offer(self, performed: PerformedOperation, association: ProviderAssociation) -> None:
        """Take a C-STORE sub-operation. It is handed out in turn, or refused if the operation was left.

        Args:
            performed: The C-STORE.
            association: The association of the C-STORE.
        """
        request = performed.operation.request
        assert isinstance(request, messages.CStoreRQ)
        if self._receive(performed, association):
            self._came.add(request.affected_sop_instance_uid)
            self._arrived.wake()

    # --- for its user -------------------------------------------------------------------------------------------------

    def _number_arrived(self, counted: int) -> int:
        return len(self._came)

    async def _step(self) -> ArrivingInstance | None:
        """Wait for an instance or a response. The final response is held until its instances have arrived."""
        if self._finished is None:
            taken = await super()._step()
            if self._response is not None:
                self._finished, self._response = self._response, None
                self._settle_by = self._endpoint.clock.after(self._endpoint.timeouts.move_settle)
            return taken
        await self._arrivals.answer_current()
        if not self._arrivals and not await self._more_comes():
            self._response = self._finished
            self._report_end()
            self._log_missing()
            return None
        return self._arrivals.next()

    async def _more_comes(self) -> bool:
        """Wait for an instance that the final response counted. Return False if none is missing, or after the limit."""
        if not self.missing:
            return False
        try:
            async with self._endpoint.clock.deadline(self._settle_by, TimeoutError):
                while not self._arrivals:
                    await self._arrived.wait()
        except TimeoutError:
            return False
        return True

    def _leave(self) -> None:
        super()._leave()
        self._report_end()
