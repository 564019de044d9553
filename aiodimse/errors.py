"""The exceptions. The text of each says who, where, and what was sent to the peer."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Self


class AiodimseError(Exception):
    """The base of every exception that this library raises on purpose. Each pickles and copies with its fields."""

    peer: str | None = None
    """The peer of the operation that the error ended, `PACS@192.0.2.8:104`; None if it ended no operation."""
    operation: str | None = None
    """The operation that the error ended: the request and its Message ID, `C-FIND-RQ 7`; None if it ended none."""

    def __str__(self) -> str:
        text = super().__str__()
        return text if self.operation is None else f"{text} ({self.operation} to {self.peer})"

    def during(self, operation: str, peer: str) -> Self:
        """Return a copy of this error that names the operation it ended.

        Args:
            operation: The request and its Message ID.
            peer: The peer.
        """
        error = copy.copy(self)
        error.operation, error.peer = operation, peer
        error.__cause__ = self.__cause__
        return error

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (type(self), self.args), self.__dict__


def _restored(kind: type[AiodimseError], args: tuple[object, ...]) -> AiodimseError:
    """Return an exception without its fields, which pickle sets next: its __init__ may take other arguments."""
    error = kind.__new__(kind, *args)
    error.args = args
    return error


# --- the association --------------------------------------------------------------------------------------------------


class AssociationError(AiodimseError):
    """The association could not be opened, or can no longer be used."""

    sent: bool = True
    """Whether the peer may have acted on the request that this error ended. False: it cannot have, because the
    association ended before the whole request was given to the transport."""

    def unsent(self) -> Self:
        """Return a copy of this error for an operation whose request was not sent: its `sent` is False."""
        error = copy.copy(self)
        error.sent = False
        error.__cause__ = self.__cause__
        return error


class AssociationRejected(AssociationError):
    """The peer answered with A-ASSOCIATE-RJ (PS3.8 9.3.4).

    An on_associate or authenticate hook raises it to reject an association.

    Args:
        result: 1: rejected-permanent, 2: rejected-transient.
        source: 1: service-user, 2: service-provider (ACSE), 3: service-provider (presentation).
        reason: The reason; its meaning depends on the source (docs/reference/reasons.md).
        meaning: The reason in words.
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
        source: 0: service-user, 2: service-provider; None: the connection was lost without an A-ABORT.
        reason: Significant if the service-provider aborts (docs/reference/reasons.md).
        by_peer: Whether the peer sent the A-ABORT.
        meaning: The reason in words.
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
        phase: connect, negotiation, response, release, read, write, consumer, idle, or acquire for a pool.
        message: The text of the error; by default it names the phase.
    """

    def __init__(self, phase: str, message: str = "") -> None:
        self.phase: str = phase
        super().__init__(message or f"the {phase} deadline passed")


class TLSError(AssociationError, ConnectionError):
    """The TLS handshake failed, or the peer then refused our certificate. The cause may be an ssl.SSLError."""


class NoAcceptedContext(AiodimseError):
    """No accepted presentation context can carry this operation. The association, if there is one, stays open.

    Args:
        message: What was wanted.
        answers: The peer's answer in words, for each abstract syntax that was proposed and could have been used.
        negotiated: All that was negotiated, if connect() raises the error; otherwise None.
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
    """The protocol does not allow this: the local caller misused the library, or the peer broke the protocol."""


class LocalProtocolError(ProtocolError):
    """The local caller asked for something that the protocol or the state does not allow. Nothing was changed."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol.

    Args:
        message: How the peer broke the protocol, without values that may be patient data.
        reason: The reason of the A-ABORT that we send (PS3.8 9.3.8).
    """

    def __init__(self, message: str, *, reason: int = 6) -> None:
        self.reason = reason
        super().__init__(message)


class PDUDecodeError(RemoteProtocolError):
    """Bytes are not the PDU that they claim to be.

    Attributes:
        field: The name of the field in PS3.8.
        offset: The offset of the field from the start of the PDU, in bytes.
        reason: The A-ABORT reason/diagnostic that PS3.8 9.3.8 gives for it: 1 unrecognized PDU, 2 unexpected PDU,
            4 unrecognized parameter, 5 unexpected parameter, 6 invalid parameter value.
        looks_like: The protocol that the bytes seem to be, for example "TLS"; "" if they may be DICOM.
    """

    def __init__(self, message: str, *, field: str, offset: int, reason: int, looks_like: str = "") -> None:
        self.field: str = field
        self.offset: int = offset
        self.looks_like: str = looks_like
        super().__init__(f"{field} at offset {offset}: {message}", reason=reason)


class CommandDecodeError(RemoteProtocolError):
    """A command set cannot be decoded, or breaks the rules of PS3.7 6.3."""


class DatasetDecodeError(AiodimseError):
    """A data set cannot be decoded.

    Args:
        message: Why. It names tags, never values.
        offset: Where, in bytes from the start of the data set; None if that is not known.
    """

    def __init__(self, message: str, *, offset: int | None = None) -> None:
        self.offset = offset
        super().__init__(message if offset is None else f"{message} at offset {offset}")


class DatasetTooLarge(DatasetDecodeError):
    """A data set exceeds one of the Limits: it has more elements or more inflated bytes than we decode."""


class DatasetEncodeError(AiodimseError):
    """A data set cannot be encoded in the transfer syntax of its context."""


class NotDICOM(AiodimseError):
    """A file is not DICOM Part 10. The text names the path."""


class InstanceConflict(AiodimseError):
    """The data set to be saved or sent is not the instance that its name or path stands for. Nothing was changed.

    A path stands for one instance. The error is raised if a data set is not the instance that its C-STORE request
    names, if a file would be replaced by anything but a readable data set of the same instance, and if a file holds
    another instance than was asked for. The text contains neither UIDs nor a path. Raised in a C-STORE handler it
    becomes a response with status 0xA900 (PS3.4 B.2.3), with the text as Error Comment.
    """


# --- DIMSE ------------------------------------------------------------------------------------------------------------


def _status_words(status: int) -> str:
    meaning = getattr(status, "meaning", "")
    return f"status 0x{int(status):04X} ({meaning})" if meaning else f"status 0x{int(status):04X}"


class DIMSEFailure(AiodimseError):
    """A final response has a Failure status. Raised in a handler, the exception becomes such a response.

    Args:
        status: The Status (0000,0900); with its meaning if it came from a peer.
        comment: The Error Comment (0000,0902), 64 characters at most.
        offending_elements: The tags of Offending Element (0000,0901).
        progress: The counters of a C-GET or C-MOVE; None for other services.
        failed_sop_instance_uids: The Failed SOP Instance UID List (0008,0058).
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
    """A C-GET or C-MOVE ended before all its instances were stored (PS3.4 C.4.2.1.8, C.4.3.1.8).

    Args:
        status: The status of the final response, for example 0xB000.
        progress: The counters of the final response; None if it had none.
        failed_sop_instance_uids: The Failed SOP Instance UID List (0008,0058); empty if the peer named none.
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
