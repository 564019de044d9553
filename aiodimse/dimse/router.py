"""Keeps the open operations of one association: message IDs, the operations window, C-CANCEL.

See PS3.7 9.1 and 10.1 (operations and notifications), 9.3 and 10.3 (protocol), D.3.3.3 (asynchronous operations
window). The router joins no bytes and knows no association; it is given the presentation contexts as values.
"""

from collections import deque
from collections.abc import Mapping
from functools import cache
from typing import Any, Self, TypeAlias

from aiodimse.config import Limits
from aiodimse.dimse.fragments import Arrived, append_piece
from aiodimse.dimse.mandatory import MANDATORY
from aiodimse.dimse.messages import (
    MESSAGES,
    CCancelRQ,
    CFindRQ,
    CGetRQ,
    CMoveRQ,
    CStoreRQ,
    Message,
    NSetRQ,
    PrioritizedRequest,
    Priority,
    Request,
    Response,
    UnknownRequest,
)
from aiodimse.dimse.operations import (
    CancelReceived,
    DatasetReceived,
    Invoked,
    Performed,
    RequestReceived,
    RequestRefused,
    ResponseReceived,
    Runnable,
)
from aiodimse.dimse.response_check import check_response
from aiodimse.errors import LocalProtocolError, RemoteProtocolError
from aiodimse.pdu import AcceptedContext, DataPiece
from aiodimse.pdu.overhead import REFUSAL, STRAY_CANCEL, Overhead
from aiodimse.record import record
from aiodimse.standard import answers, leniency, sop_class
from aiodimse.standard.leniency import Tolerated

_Refusal: TypeAlias = tuple[int, int | None, str]
"""Status, Offending Element and Error Comment of a response."""

COMPOSITE = frozenset(("C-ECHO", "C-STORE", "C-FIND", "C-GET", "C-MOVE"))
_MANY_RESPONSES = (CFindRQ, CGetRQ, CMoveRQ)
"""Requests with Pending responses, which C-CANCEL can end (PS3.7 9.3.2.3)."""
_WITH_DATA_SET = frozenset((*_MANY_RESPONSES, CStoreRQ, NSetRQ))
_PRIORITIES = frozenset(Priority)
_COMMAND_DATA_SET_TYPE, _PRIORITY = 0x00000800, 0x00000700


@record
class _Rules:
    """What a presentation context may carry."""

    context: AcceptedContext
    composite: frozenset[str]
    """The SOP class that DIMSE-C requests may name: its own."""
    normalized: frozenset[str]
    """The SOP classes that DIMSE-N requests may name: its own, and those that it carries (PS3.4 CC, H)."""
    services: frozenset[str] | None
    """The DIMSE services of its SOP class; None, any, if we do not know the class."""
    performed: frozenset[str]
    """The DIMSE services that our role, or a leniency, allows us to perform."""
    tolerated: frozenset[str]
    """Those of `performed` that only a leniency allows (`ROLE_ITEM_MISSING`)."""

    @classmethod
    def of(cls, context: AcceptedContext) -> Self:
        """Make the rules of a context, by the row of its SOP class."""
        uid = context.abstract_syntax
        row = sop_class.lookup(uid)
        roles = _allowed(context.scu, context.scp, context.assumed)
        if row is None:
            return cls(context, frozenset((uid,)), frozenset((uid,)), None, *roles)
        return cls(context, frozenset((uid,)), frozenset((uid, *row.carries)), frozenset(row.commands), *roles)

    def refusal(self, request: Request, *, strict: bool) -> _Refusal | None:
        """Return the refusal of a request that this context does not carry, or that cannot be acted on; None for
        others."""
        if type(request) is UnknownRequest:
            return answers.UNRECOGNIZED_OPERATION, None, f"command field {request.command_field:04X} is not known"
        service = request.service
        if request.sop_class_uid not in (self.composite if service in COMPOSITE else self.normalized):
            status = answers.SOP_CLASS_NOT_SUPPORTED if service in COMPOSITE else answers.NO_SUCH_SOP_CLASS
            return status, None, "not the SOP class of its presentation context"
        if self.services is not None and service not in self.services:
            return answers.UNRECOGNIZED_OPERATION, None, f"{service} is not a service of this SOP class"
        # The roles decide who may invoke (PS3.7 D.3.3.4). Notifications go from the SCP to the SCU, operations the
        # other way.
        if service not in self.performed:
            return answers.SOP_CLASS_NOT_SUPPORTED, None, "the roles negotiated for this SOP class do not allow it"
        if type(request) in _WITH_DATA_SET and not request.has_data_set:
            return answers.MISTYPED_ARGUMENT, _COMMAND_DATA_SET_TYPE, "a data set is required"
        for field, tag, status, comment in MANDATORY.get(type(request), ()):
            if getattr(request, field) in (None, ""):
                return status, tag, comment
        if strict and isinstance(request, PrioritizedRequest) and request.priority not in _PRIORITIES:
            return answers.MISTYPED_ARGUMENT, _PRIORITY, "a priority is 0, 1 or 2"
        return None


@cache
def _allowed(scu: bool, scp: bool, assumed: bool) -> tuple[frozenset[str], frozenset[str]]:
    """Return the services that a context with these roles allows us to perform, and those of them that a leniency
    allows."""
    context = AcceptedContext(1, "", "", scu, scp, assumed)
    services = {message.service for message in MESSAGES.values()}
    return frozenset(filter(context.may_perform, services)), frozenset(filter(context.assumes_to_perform, services))


_REMEMBERED = 16
"""How many operations are remembered that have ended and whose peer may send one more final response."""

# The status of a refusal for want of a place; of other services it is RESOURCE_LIMITATION.
_NO_PLACE: dict[type[Request], int] = {
    CStoreRQ: answers.OUT_OF_RESOURCES,
    CFindRQ: answers.OUT_OF_RESOURCES,
    CGetRQ: answers.CANNOT_PERFORM_SUBOPERATIONS,
    CMoveRQ: answers.CANNOT_PERFORM_SUBOPERATIONS,
}
_TOO_MANY = "too many operations at once, or too large ones"


def no_place(request: Request) -> Response:
    """Return the refusal of a request for want of a place."""
    response = request.response(_NO_PLACE.get(type(request), answers.RESOURCE_LIMITATION))
    response.error_comment = _TOO_MANY
    return response


class Router:
    """The open operations of one association."""

    def __init__(
        self,
        contexts: Mapping[int, AcceptedContext],
        *,
        invoked_window: int,
        performed_window: int,
        limits: Limits,
        events: deque[Any],
        strict: bool = False,
        overhead: Overhead | None = None,
    ) -> None:
        self.invoked: dict[int, Invoked] = {}
        self.performed: dict[int, Performed] = {}
        self._events = events  # The engine's own queue, in which the events of all floors stay in order.
        self.contexts = contexts
        self._rules = {context_id: _Rules.of(context) for context_id, context in contexts.items()}
        self._assumes_roles = any(context.assumed for context in contexts.values())
        # 0 means unlimited to a peer (PS3.7 D.3.3.3); here everything has a limit.
        self.invoked_window: int = min(invoked_window or limits.operations, limits.operations)
        self.performed_window: int = min(performed_window or limits.operations, limits.operations)
        self._limits, self._strict = limits, strict
        self._overhead = overhead or Overhead(limits)
        self._last_id = 0
        self._queue: deque[Performed] = deque()
        self._message: Request | Response | None = None  # whose data set is coming
        self._target: Performed | Invoked | RequestRefused | None = None  # None: dropped
        self._pieces: list[bytes | memoryview] = []
        # The bytes so far of the command set and data set of that message, and how long the data set may be.
        self._command_size = self._joined = self._most = self._largest = 0
        self._held = 0  # The bytes of all open requests.
        self.parked: tuple[int, Request] | None = None
        """A request for which there is no place, and its context. Nothing behind it may be read before `unpark`."""
        # By message ID: the Command Field and the status (None: any) of a final response that may follow the first one.
        self._ended: dict[int, tuple[int, int | None]] = {}

    # --- as invoker ---------------------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether the operations window has a place for one more operation of ours."""
        return len(self.invoked) < self.invoked_window

    def invoke(self, context_id: int, request: Request) -> Invoked:
        """Open an operation. Its request gets the next message ID that no open operation has (PS3.7 9.1).

        Raises:
            LocalProtocolError: The window is full, or the request is not one that a peer could act on.
        """
        if not self.has_room:
            raise LocalProtocolError(f"the operations window of {self.invoked_window} is full")
        if isinstance(request, PrioritizedRequest) and request.priority not in _PRIORITIES:
            raise LocalProtocolError(f"a priority is 0 (MEDIUM), 1 (HIGH) or 2 (LOW), not {request.priority!r}")
        for field, _, _, comment in MANDATORY.get(type(request), ()):
            value = getattr(request, field)
            if value is None or value == "" or (type(value) is str and not value.strip(" ")):
                raise LocalProtocolError(f"{request.name}: {comment}")
        message_id = request.message_id
        if not message_id or message_id in self.invoked:  # else the caller has chosen a free one
            message_id = self._last_id
            while True:
                message_id = message_id % 65535 + 1
                if message_id not in self.invoked:
                    break
            self._last_id = request.message_id = message_id
        if self._assumes_roles and self.contexts[context_id].assumes_to_invoke(request.service):
            self._events.append(Tolerated(leniency.ROLE_ITEM_MISSING, f"{request.service} by us"))
        operation = self.invoked[message_id] = Invoked(message_id, context_id, request)
        return operation

    def take_back(self, operation: Invoked) -> None:
        """Close an operation whose request was not sent: its message ID and its place are free again."""
        operation.is_open = False
        del self.invoked[operation.message_id]

    def cancel(self, operation: Invoked) -> CCancelRQ | None:
        """Return the C-CANCEL-RQ to send; None if the operation has ended, cannot be cancelled, or was cancelled
        before."""
        if not operation.is_open or operation.cancel_sent or not isinstance(operation.request, _MANY_RESPONSES):
            return None
        operation.cancel_sent = True
        return CCancelRQ(message_id_being_responded_to=operation.message_id)

    # --- as performer -------------------------------------------------------------------------------------------------

    def respond(self, operation: Performed, response: Response) -> bool:
        """Account for a response that is about to be sent. Return whether it is the final one; raise if that was sent
        before."""
        if not operation.is_open:
            raise LocalProtocolError(f"message {operation.message_id} has had its final response")
        if response.status in answers.STILL_PENDING and isinstance(operation.request, _MANY_RESPONSES):
            return False
        self.abandon(operation)
        return True

    def abandon(self, operation: Performed) -> None:
        """Close an operation, with or without a final response: its place is free again."""
        operation.is_open = False
        del self.performed[operation.message_id]
        self._held -= operation.size
        if operation.waiting:
            self._queue.remove(operation)
        elif self._queue:
            runnable = self._queue.popleft()
            runnable.waiting = False
            self._events.append(Runnable(runnable))

    # --- what the peer says -------------------------------------------------------------------------------------------

    def receive(self, arrived: Arrived) -> None:
        """Route a command set or a piece of a data set.

        Raises:
            RemoteProtocolError: It breaks a rule, and cannot be answered by a response.
        """
        if isinstance(arrived, DataPiece):
            self._receive_data(arrived)
            return
        message = arrived.message
        self._command_size = arrived.size
        if isinstance(message, Request):
            self._receive_request(arrived.context_id, message)
        elif isinstance(message, Response):
            self._receive_response(arrived.context_id, message)
        else:
            assert isinstance(message, CCancelRQ)
            self._receive_cancel(message)

    def _receive_cancel(self, cancel: CCancelRQ) -> None:
        operation = self.performed.get(cancel.message_id_being_responded_to)
        # Only these can be cancelled (PS3.7 9.3.2.3). A C-CANCEL for another operation, or for none, is ignored.
        if operation is not None and isinstance(operation.request, _MANY_RESPONSES) and not operation.is_cancelled:
            operation.is_cancelled = True
            self._events.append(CancelReceived(operation))
        else:
            self._overhead.spend(STRAY_CANCEL, "a C-CANCEL for nothing")
        self._expect_data(cancel, None)

    def _receive_response(self, context_id: int, response: Response) -> None:
        message_id = response.message_id_being_responded_to
        operation = self.invoked.get(message_id)
        if operation is None:
            if self._is_further_final(response):
                del self._ended[message_id]
                self._expect_data(response, None)
                self._events.append(Tolerated(leniency.RESPONSE_AFTER_FINAL, str(response)))
                return
            raise RemoteProtocolError(f"a {response.name} to message {message_id}, which is not open", reason=2)
        if (broken := check_response(response, context_id, operation, self.invoked, self._strict)) is not None:
            self._events.append(broken)
        if response.has_data_set:
            self._expect_data(response, operation)
        else:
            self._response_complete(operation, response, None)

    def _response_complete(self, operation: Invoked, response: Response, data: bytes | None) -> None:
        is_final = response.status not in answers.STILL_PENDING or not isinstance(operation.request, _MANY_RESPONSES)
        if is_final:
            operation.is_open = False
            del self.invoked[operation.message_id]
            if operation.cancel_sent:
                self._remember(operation, response, None)
            elif (
                response.status == answers.RESPONSE_LIMIT_REACHED
                and operation.request.sop_class_uid == sop_class.RepositoryQuery
            ):
                self._remember(operation, response, answers.SUCCESS)
        size = self._command_size + (len(data) if data else 0)
        self._events.append(ResponseReceived(operation, response, data, is_final, size))

    def _remember(self, operation: Invoked, response: Response, further: int | None) -> None:
        """Remember an operation that has ended and whose peer may send one more final response, of this status if it is
        not None."""
        if len(self._ended) >= _REMEMBERED:
            del self._ended[next(iter(self._ended))]
        self._ended[operation.message_id] = response.command_field, further

    def _is_further_final(self, response: Response) -> bool:
        expected = self._ended.get(response.message_id_being_responded_to)
        return (
            expected is not None
            and not self._strict
            and response.command_field == expected[0]
            and response.status not in answers.STILL_PENDING
            and expected[1] in (None, response.status)
        )

    def _receive_request(self, context_id: int, request: Request) -> None:
        if request.message_id in self.performed:
            comment = f"message ID {request.message_id} is in use"
            self._refuse(context_id, request, answers.DUPLICATE_INVOCATION, None, comment)
        elif refusal := self._rules[context_id].refusal(request, strict=self._strict):
            self._refuse(context_id, request, *refusal)
        elif not self._find_place(context_id, request):
            self.parked = context_id, request

    def unpark(self) -> bool:
        """Admit or refuse the request that waits. Return False if it has to wait on."""
        assert self.parked is not None
        if not self._find_place(*self.parked):
            return False
        self.parked = None
        return True

    def _find_place(self, context_id: int, request: Request) -> bool:
        """Admit a request if there is a place for it, or refuse it.

        It is refused if it would take too much memory. It is also refused, and not made to wait, if we await responses
        to operations of ours: these may come behind it.
        """
        limits = self._limits
        has_place = len(self.performed) < self.performed_window + limits.waiting_requests
        has_memory = self._held + self._command_size <= limits.requests_in_memory
        if has_place and has_memory:
            self._admit(context_id, request)
        elif self.invoked or not has_memory:
            status = _NO_PLACE.get(type(request), answers.RESOURCE_LIMITATION)
            self._refuse(context_id, request, status, None, _TOO_MANY)
        else:
            return False
        return True

    def _refuse(self, context_id: int, request: Request, status: int, offending: int | None, comment: str) -> None:
        self._overhead.spend(REFUSAL, f"requests that are refused: {comment}")
        response = request.response(status)
        response.error_comment = comment
        if offending is not None:
            response.offending_element = (offending,)
        refused = RequestRefused(context_id, response, self._command_size)
        if request.has_data_set:
            self._expect_data(request, refused)
        else:
            self._events.append(refused)

    def _admit(self, context_id: int, request: Request) -> None:
        rules = self._rules[context_id]
        if request.service in rules.tolerated:
            self._events.append(Tolerated(leniency.ROLE_ITEM_MISSING, f"{request.service} by the peer"))
        waiting, size = len(self.performed) >= self.performed_window, self._command_size
        self._overhead.requests_performed += 1
        operation = Performed(request.message_id, rules.context, request, waiting, size)
        self.performed[request.message_id] = operation
        self._held += size
        if waiting:
            self._queue.append(operation)
        if type(request) is CStoreRQ:
            self._target = operation  # the pieces of its data set are handed on as they come
            self._events.append(RequestReceived(operation, None))
        elif request.has_data_set:
            self._expect_data(request, operation)
        else:
            self._events.append(RequestReceived(operation, None))

    # --- data sets ----------------------------------------------------------------------------------------------------

    def _expect_data(self, message: Message, target: Performed | Invoked | RequestRefused | None) -> None:
        if message.has_data_set:
            self._message, self._target = message, target  # type: ignore[assignment]
            limits = self._limits
            self._largest, together = limits.identifier, limits.requests_in_memory
            if message.service not in COMPOSITE:
                self._largest = limits.normalized_dataset
                together = max(together, self._largest)
            self._pieces, self._joined, self._most = [], 0, self._largest
            if type(target) is Performed:
                self._most = min(self._most, together - self._held)

    def _receive_data(self, piece: DataPiece) -> None:
        target = self._target
        if type(target) is Performed and type(target.request) is CStoreRQ:
            self._events.append(DatasetReceived(target, piece.data, piece.is_last))
            if piece.is_last:
                self._target = None
            return
        if isinstance(target, (Performed, Invoked)):
            self._joined += len(piece.data)
            if self._joined > self._most:
                self._too_large(target)
            else:
                append_piece(self._pieces, piece.data)
        if piece.is_last:
            self._data_complete()

    def _too_large(self, target: Performed | Invoked) -> None:
        """Refuse a request whose data set is too large for us. A response with such a data set ends the association."""
        if isinstance(target, Invoked):
            raise RemoteProtocolError(f"a data set over {self._largest} bytes in a response", reason=6)
        request = target.request
        response = no_place(request)
        if self._joined > self._largest:
            response.status = answers.TOO_LARGE.get(request.service, answers.RESOURCE_LIMITATION)
            response.error_comment = f"the data set is over {self._largest} bytes"
        self._pieces = []
        self._target = RequestRefused(target.context.context_id, response, self._command_size)
        self.respond(target, response)

    def _data_complete(self) -> None:
        message, target, pieces = self._message, self._target, self._pieces
        self._message, self._target, self._pieces = None, None, []
        if isinstance(target, RequestRefused):
            self._events.append(target)
        elif isinstance(target, Invoked):
            assert isinstance(message, Response)
            self._response_complete(target, message, b"".join(pieces))
        elif isinstance(target, Performed):
            target.size += self._joined
            self._held += self._joined
            self._events.append(RequestReceived(target, b"".join(pieces)))
