"""Open operations in both directions, and what the router tells the floor above of them, one value an event."""

from dataclasses import dataclass, field

from aiodimse.dimse.messages import Request, Response
from aiodimse.pdu import AcceptedContext
from aiodimse.record import record
from aiodimse.standard.leniency import Tolerated


@dataclass(slots=True, eq=False)
class Invoked:
    """An operation that we asked the peer for; open until its final response."""

    message_id: int
    context_id: int
    request: Request
    is_open: bool = True
    cancel_sent: bool = False


@dataclass(slots=True, eq=False)
class Performed:
    """An operation that the peer asked us for; open until our final response."""

    message_id: int
    context: AcceptedContext
    request: Request
    waiting: bool
    """Beyond the operations window: not to be run before Runnable."""
    size: int
    """Bytes of its command set, and of its data set where that is joined."""
    is_open: bool = True
    is_cancelled: bool = False


# --- what climbs ------------------------------------------------------------------------------------------------------


@record
class RequestReceived:
    """A request is admitted. data: its whole data set, joined; None for C-STORE, whose data set follows in pieces."""

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
    """A request that gets this answer and no handler; its data set has been read and dropped."""

    context_id: int
    response: Response
    size: int
    """Bytes of the command set of the request; the response repeats some of them."""


@record
class ResponseReceived:
    """A response to an operation of ours, with its whole data set."""

    operation: Invoked
    response: Response
    data: bytes | None = field(repr=False)
    is_final: bool
    size: int
    """Bytes of its command set and data set."""


@record
class CancelReceived:
    """The peer wants this operation to end (C-CANCEL, PS3.7 9.3.2.3)."""

    operation: Performed


@record
class Runnable:
    """A request that waited for a place in the window has one."""

    operation: Performed


RouterEvent = (
    RequestReceived | DatasetReceived | RequestRefused | ResponseReceived | CancelReceived | Runnable | Tolerated
)
