"""Open operations in both directions, and the events with which the router reports what happens to them."""

from dataclasses import dataclass, field

from aiodimse.dimse.messages import Request, Response
from aiodimse.pdu import AcceptedContext
from aiodimse.record import record
from aiodimse.standard.leniency import Tolerated


@dataclass(slots=True, eq=False)
class Invoked:
    """An operation that we invoked. It is open until its final response."""

    message_id: int
    context_id: int
    request: Request
    is_open: bool = True
    cancel_sent: bool = False


@dataclass(slots=True, eq=False)
class Performed:
    """An operation that the peer invoked. It is open until our final response."""

    message_id: int
    context: AcceptedContext
    request: Request
    waiting: bool
    """Whether it is beyond the operations window, and must not be performed before Runnable."""
    size: int
    """The length of its command set in bytes, and of its data set if that is joined."""
    is_open: bool = True
    is_cancelled: bool = False


# --- what climbs ------------------------------------------------------------------------------------------------------


@record
class RequestReceived:
    """A request is admitted. `data` is its whole data set, joined; None for C-STORE, whose data set follows in
    pieces."""

    operation: Performed
    data: bytes | None = field(repr=False)


@record
class DatasetReceived:
    """A piece of the data set of the C-STORE request that was received last."""

    operation: Performed
    data: bytes | memoryview = field(repr=False)
    is_last: bool


@record
class RequestRefused:
    """A request that gets this response and reaches no handler. Its data set has been read and dropped."""

    context_id: int
    response: Response
    size: int
    """The length of the command set of the request in bytes; the response repeats some of them."""


@record
class ResponseReceived:
    """A response to an operation of ours, with its whole data set."""

    operation: Invoked
    response: Response
    data: bytes | None = field(repr=False)
    is_final: bool
    size: int
    """The length of its command set and data set in bytes."""


@record
class CancelReceived:
    """The peer wants this operation to end (C-CANCEL, PS3.7 9.3.2.3)."""

    operation: Performed


@record
class Runnable:
    """A request that waited for its place in the operations window has one."""

    operation: Performed


RouterEvent = (
    RequestReceived | DatasetReceived | RequestRefused | ResponseReceived | CancelReceived | Runnable | Tolerated
)
