"""The events that the state machine reports: one class for each primitive of PS3.8 7."""

from aiodimse.pdu import AssociateAC, AssociateRJ, AssociateRQ
from aiodimse.record import record
from aiodimse.standard.reason import reject_meaning


@record
class RequestedIndication:
    """A-ASSOCIATE indication: the peer asks for an association. The answer is accept() or reject()."""

    rq: AssociateRQ

    def __str__(self) -> str:
        return f"association requested by {self.rq.calling_ae_title!r} of {self.rq.called_ae_title!r}"


@record
class AcceptedConfirmation:
    """A-ASSOCIATE confirmation, accepted: data may be sent."""

    ac: AssociateAC

    def __str__(self) -> str:
        return f"association accepted, {sum(r.result == 0 for r in self.ac.results)} of {len(self.ac.results)} contexts"


@record
class RejectedConfirmation:
    """A-ASSOCIATE confirmation, rejected. The association is over."""

    rj: AssociateRJ

    @property
    def meaning(self) -> str:
        """The reason in words."""
        return reject_meaning(self.rj.result, self.rj.source, self.rj.reason)

    def __str__(self) -> str:
        return f"association rejected {self.rj.result}/{self.rj.source}/{self.rj.reason}: {self.meaning}"


@record
class ReleaseIndication:
    """A-RELEASE indication. The answer is respond_release(). If we have asked for release too, it is a release
    collision."""

    collision: bool = False

    def __str__(self) -> str:
        return "release requested by the peer" + (" and by us" if self.collision else "")


@record
class ReleaseConfirmation:
    """A-RELEASE confirmation. The association is over, except for the acceptor of a release collision, which still has
    to respond (Sta12)."""

    response_due: bool = False

    def __str__(self) -> str:
        return "released"


@record
class ReleaseTimedOut:
    """The peer has not answered our A-RELEASE-RQ within Timeouts.release. The state has not changed; the caller should
    abort."""

    def __str__(self) -> str:
        return "no answer to the release request in time"


@record
class AbortIndication:
    """A-ABORT indication (source 0) or A-P-ABORT indication (source 2). The association is over."""

    source: int
    reason: int
    by_peer: bool
    """True if the peer sent the A-ABORT; False if we sent it because the peer broke a rule."""
    meaning: str

    def __str__(self) -> str:
        return f"aborted by {'the peer' if self.by_peer else 'us'} {self.source}/{self.reason}: {self.meaning}"


@record
class TransportClosedIndication:
    """A-P-ABORT indication without a PDU: the transport connection was lost, or was never established. The association
    is over."""

    def __str__(self) -> str:
        return "transport connection closed"


@record
class CloseTransport:
    """Asks the caller to write the output, send FIN (write_eof), and go on reading. What it reads is discarded, until
    DropTransport follows."""

    deadline: float | None
    """When ARTIM expires. DropTransport follows then, or earlier if the peer closes the connection."""

    def __str__(self) -> str:
        return "close the transport connection"


@record
class DropTransport:
    """The last event: the machine is in Sta1, and the transport connection is closed or may be dropped with abort()."""

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
