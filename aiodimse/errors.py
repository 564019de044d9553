"""The exception tree. An error says who, where, and what went on the wire."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Self


class AiodimseError(Exception):
    """Base of everything this library raises on purpose. Each pickles and copies with all its fields."""

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (type(self), self.args), self.__dict__


def _restored(kind: type[AiodimseError], args: tuple[object, ...]) -> AiodimseError:
    """An exception without its fields, which follow: they are not what its __init__ takes."""
    error = kind.__new__(kind, *args)
    error.args = args
    return error


# --- the association --------------------------------------------------------------------------------------------------


class AssociationError(AiodimseError):
    """The association could not be made, or cannot be used any more."""

    sent: bool = True
    """False: nothing of the request whose operation raised this can have been acted on, for the association had ended
    before it was wholly given to the transport. True: it may have been."""

    def unsent(self) -> Self:
        """The same error for an operation whose request did not go out: `sent` is False."""
        error = copy.copy(self)
        error.sent = False
        error.__cause__ = self.__cause__
        return error


class AssociationRejected(AssociationError):
    """The peer answered with A-ASSOCIATE-RJ (PS3.8 9.3.4).

    An on_associate or authenticate hook raises it to reject.

    Args:
        result: 1 rejected-permanent, 2 rejected-transient.
        source: 1 service-user, 2 service-provider (ACSE), 3 service-provider (presentation).
        reason: Why; its meaning depends on the source (docs/reference/reasons.md).
        meaning: The same in words.
    """

    def __init__(self, result: int, source: int, reason: int, meaning: str = "") -> None:
        self.result: int = result
        self.source: int = source
        self.reason: int = reason
        self.meaning: str = meaning
        words = f" ({meaning})" if meaning else ""
        super().__init__(f"association rejected by the peer: {result}/{source}/{reason}{words}")


class AssociationAborted(AssociationError):
    """An A-ABORT ended the association (PS3.8 9.3.8).

    Args:
        source: 0 service-user, 2 service-provider; None where the connection went away without an A-ABORT.
        reason: Significant where the service-provider aborts (docs/reference/reasons.md).
        by_peer: Whether the peer sent it.
        meaning: The same in words.
    """

    def __init__(self, source: int | None, reason: int | None, *, by_peer: bool = True, meaning: str = "") -> None:
        self.source: int | None = source
        self.reason: int | None = reason
        self.by_peer: bool = by_peer
        self.meaning: str = meaning
        if source is None:
            what = "the transport connection was lost"
        else:
            what = f"association aborted by {'the peer' if by_peer else 'us'}: {source}/{reason}"
        super().__init__(f"{what} ({meaning})" if meaning else what)


class AssociationClosed(AssociationError):
    """The association was released or closed before this call."""


class AssociationTimeout(AssociationError, TimeoutError):
    """A deadline passed.

    Args:
        phase: connect, negotiation, response, release, read, write, consumer or idle.
        message: More words; otherwise the phase is named.
    """

    def __init__(self, phase: str, message: str = "") -> None:
        self.phase: str = phase
        super().__init__(message or f"the {phase} deadline passed")


class TLSError(AssociationError, ConnectionError):
    """The TLS handshake failed, or the peer refused our certificate after it. The cause is an ssl.SSLError, if any."""


class NoAcceptedContext(AiodimseError):
    """No accepted presentation context can carry this operation. The association, if there is one, goes on.

    Args:
        message: What was wanted.
        answers: For each abstract syntax that was proposed and would have done, the peer's answer in words.
        negotiated: Where connect() raises it, all that was negotiated; else None.
    """

    def __init__(
        self, message: str, answers: Mapping[str, str] | None = None, *, negotiated: object | None = None
    ) -> None:
        self.negotiated = negotiated
        self.answers: dict[str, str] = dict(answers or {})
        if self.answers:
            message += ": " + "; ".join(f"{uid} {answer}" for uid, answer in self.answers.items())
        super().__init__(message)


# --- bytes and rules --------------------------------------------------------------------------------------------------


class ProtocolError(AiodimseError):
    """The protocol does not allow this: misuse by the local caller, or a fault of the peer."""


class LocalProtocolError(ProtocolError):
    """The local caller asked for something that the protocol or the state does not allow; nothing was changed."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol.

    Args:
        message: How, without values that may be patient data.
        reason: For the A-ABORT that answers it (PS3.8 9.3.8).
    """

    def __init__(self, message: str, *, reason: int = 6) -> None:
        self.reason = reason
        super().__init__(message)


class PDUDecodeError(RemoteProtocolError):
    """Bytes that are not the PDU they claim to be.

    Attributes:
        field: The PS3.8 name of the field.
        offset: Bytes from the start of the PDU.
        reason: The A-ABORT reason/diagnostic that PS3.8 9.3.8 gives for it: 1 unrecognized PDU, 2 unexpected PDU,
            4 unrecognized parameter, 5 unexpected parameter, 6 invalid parameter value.
        looks_like: The protocol that begins so, as in "TLS"; "" where it may be DICOM.
    """

    def __init__(self, message: str, *, field: str, offset: int, reason: int, looks_like: str = "") -> None:
        self.field: str = field
        self.offset: int = offset
        self.looks_like: str = looks_like
        super().__init__(f"{field} at offset {offset}: {message}", reason=reason)


class CommandDecodeError(RemoteProtocolError):
    """A command set that is not one (PS3.7 6.3)."""


class DatasetDecodeError(AiodimseError):
    """A data set that does not decode.

    Args:
        message: Why; it names tags, never values.
        offset: Where, in bytes from the beginning of the data set; None where that is not known.
    """

    def __init__(self, message: str, *, offset: int | None = None) -> None:
        self.offset = offset
        super().__init__(message if offset is None else f"{message} at offset {offset}")


class DatasetTooLarge(DatasetDecodeError):
    """A data set over one of the Limits: more elements, or inflated more bytes, than we decode."""


class DatasetEncodeError(AiodimseError):
    """A data set that cannot be encoded in the transfer syntax of its context."""


class NotDICOM(AiodimseError):
    """A file that is not DICOM Part 10. The text names the path."""


class InstanceConflict(AiodimseError):
    """What is to be saved or sent is another instance than the one that has this name; nothing was changed.

    A path has one identity. It is raised where a data set is not the instance that its C-STORE request names, where a
    file is to be replaced by anything but a readable data set of the same instance, and where a file holds another
    instance than was asked for. The text holds neither UIDs nor a path. Raised out of a C-STORE handler it is answered
    0xA900 (PS3.4 B.2.3), the text as Error Comment.
    """


# --- DIMSE ------------------------------------------------------------------------------------------------------------


def _status_words(status: int) -> str:
    meaning = getattr(status, "meaning", "")
    return f"status 0x{int(status):04X} ({meaning})" if meaning else f"status 0x{int(status):04X}"


class DIMSEFailure(AiodimseError):
    """A final response with a Failure status; raised in a handler, it becomes one.

    Args:
        status: The code (0000,0900), with its meaning where it came from a peer.
        comment: Error Comment (0000,0902), 64 characters at most.
        offending_elements: Tags (0000,0901).
        progress: The counters of a C-GET or C-MOVE; None elsewhere.
        failed_sop_instance_uids: From Failed SOP Instance UID List (0008,0058).
    """

    def __init__(
        self,
        status: int,
        comment: str | None = None,
        *,
        offending_elements: Sequence[int] = (),
        progress: object | None = None,
        failed_sop_instance_uids: Sequence[str] = (),
    ) -> None:
        self.status: int = status
        self.comment: str | None = comment
        self.offending_elements: tuple[int, ...] = tuple(offending_elements)
        self.progress = progress
        self.failed_sop_instance_uids: tuple[str, ...] = tuple(failed_sop_instance_uids)
        text = _status_words(status)
        super().__init__(f"{text}: {comment}" if comment else text)


class IncompleteRetrieval(AiodimseError):
    """A C-GET or C-MOVE ended, and not all that it is about was stored (PS3.4 C.4.2.1.8, C.4.3.1.8).

    Args:
        status: Of the final response, as in 0xB000.
        progress: The counters of the final response, None where it had none.
        failed_sop_instance_uids: From Failed SOP Instance UID List (0008,0058); empty where the peer named none.
    """

    def __init__(
        self, status: int, progress: object | None = None, failed_sop_instance_uids: Sequence[str] = ()
    ) -> None:
        self.status: int = status
        self.progress: object | None = progress
        self.failed_sop_instance_uids: tuple[str, ...] = tuple(failed_sop_instance_uids)
        failed = getattr(progress, "failed", None) or len(self.failed_sop_instance_uids)
        how_many = f"{failed} sub-operations failed" if failed else "not all instances were stored"
        super().__init__(f"{how_many}: {_status_words(status)}")
