"""What the machine tells the floor above: one value an event, in the names of PS3.8 7."""

from aiodimse.pdu import AssociateAC, AssociateRJ, AssociateRQ
from aiodimse.record import record
from aiodimse.standard.reason import reject_meaning


@record
class RequestedIndication:
    """A-ASSOCIATE indication: the peer asks; answer with accept or reject."""

    rq: AssociateRQ

    def __str__(self) -> str:
        return f"association requested by {self.rq.calling_ae_title!r} of {self.rq.called_ae_title!r}"


@record
class AcceptedConfirmation:
    """A-ASSOCIATE confirmation, accepted: data may flow."""

    ac: AssociateAC

    def __str__(self) -> str:
        return f"association accepted, {sum(r.result == 0 for r in self.ac.results)} of {len(self.ac.results)} contexts"


@record
class RejectedConfirmation:
    """A-ASSOCIATE confirmation, rejected: terminal."""

    rj: AssociateRJ

    @property
    def meaning(self) -> str:
        """The reason in words."""
        return reject_meaning(self.rj.result, self.rj.source, self.rj.reason)

    def __str__(self) -> str:
        return f"association rejected {self.rj.result}/{self.rj.source}/{self.rj.reason}: {self.meaning}"


@record
class ReleaseIndication:
    """A-RELEASE indication: answer with respond_release. After a release of our own it is a collision."""

    collision: bool = False

    def __str__(self) -> str:
        return "release requested by the peer" + (" and by us" if self.collision else "")


@record
class ReleaseConfirmation:
    """A-RELEASE confirmation: terminal, but for the acceptor of a release collision, who has yet to respond (Sta12)."""

    response_due: bool = False

    def __str__(self) -> str:
        return "released"


@record
class ReleaseTimedOut:
    """The peer has not answered our A-RELEASE-RQ within Timeouts.release. Nothing has changed: the caller aborts."""

    def __str__(self) -> str:
        return "no answer to the release request in time"


@record
class AbortIndication:
    """A-ABORT indication (source 0) or A-P-ABORT indication (source 2): terminal."""

    source: int
    reason: int
    by_peer: bool
    """True: the peer's A-ABORT came. False: we sent one, because of what the peer did."""
    meaning: str

    def __str__(self) -> str:
        return f"aborted by {'the peer' if self.by_peer else 'us'} {self.source}/{self.reason}: {self.meaning}"


@record
class TransportClosedIndication:
    """A-P-ABORT indication without a PDU: the transport connection was lost, or never came about. Terminal."""

    def __str__(self) -> str:
        return "transport connection closed"


@record
class CloseTransport:
    """Write what take_output gave, then FIN (write_eof); read and discard. DropTransport follows in the end."""

    deadline: float | None
    """When ARTIM expires; handle_timeout then gives DropTransport, and so does the peer's close, whichever is first."""

    def __str__(self) -> str:
        return "close the transport connection"


@record
class DropTransport:
    """The last event there is: the machine is in Sta1, the connection is closed or has no more use (abort() it)."""

    def __str__(self) -> str:
        return "drop the transport connection"


MachineEvent = (
    RequestedIndication
    | AcceptedConfirmation
    | RejectedConfirmation
    | ReleaseIndication
    | ReleaseConfirmation
    | ReleaseTimedOut
    | AbortIndication
    | TransportClosedIndication
    | CloseTransport
    | DropTransport
)
