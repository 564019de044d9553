"""Responses: the Response that a user gets, and what a handler may return."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, field
from typing import Self, TypeAlias

from pydicom.dataset import Dataset

from aiodimse.dimse import messages
from aiodimse.dimse.status import Status
from aiodimse.errors import DIMSEFailure, IncompleteRetrieval
from aiodimse.record import record
from aiodimse.standard import answers, sop_class
from aiodimse.standard.status import Category


@record(frozen=True)
class Progress:
    """The counters of a C-GET or C-MOVE (PS3.7 9.1.3.1, 9.1.4.1): numbers of C-STORE sub-operations.

    `remaining` is None if the response does not have it, as most final responses do not.
    """

    remaining: int | None = None
    completed: int = 0
    failed: int = 0
    warning: int = 0


@record(frozen=True)
class EncodedDataset:
    """A data set that is encoded already. A handler may yield it instead of a Dataset.

    Raises:
        TypeError: The data are not bytes, or the transfer syntax is not a str.
    """

    data: bytes = field(repr=False)
    """The bytes. A bytearray or memoryview is copied."""
    transfer_syntax: str
    """The UID of their encoding, which must be that of the presentation context in which they are sent."""

    def __post_init__(self) -> None:
        """Check the types here, where the mistake is made: a message that has begun could only end with A-ABORT."""
        if type(self.data) is not bytes:
            if not isinstance(self.data, (bytes, bytearray, memoryview)):
                raise TypeError(f"an encoded data set is bytes, not {type(self.data).__name__}")
            object.__setattr__(self, "data", bytes(self.data))
        if not isinstance(self.transfer_syntax, str):
            raise TypeError(f"a transfer syntax is a str, not {type(self.transfer_syntax).__name__}")


Identifier: TypeAlias = Dataset | EncodedDataset
"""A data set that an operation sends: one of pydicom, or one that is encoded already."""


@record(frozen=True)
class Reply:
    """What a handler with one answer may return. These are handlers of C-ECHO, C-STORE and DIMSE-N.

    Examples:
        >>> @server.on_n_create(sop_class.ModalityPerformedProcedureStep)
        ... async def create(request: aiodimse.NormalizedRequest) -> aiodimse.Reply:
        ...     if await steps.has(request.sop_instance_uid):
        ...         return aiodimse.Reply(0x0111, error_comment="there is one")
        ...     return aiodimse.Reply(sop_instance_uid=await steps.create(request.dataset))
    """

    status: int = 0
    """Status (0000,0900)."""
    dataset: Dataset | EncodedDataset | None = field(default=None, repr=False)
    """The data set of the response, only for DIMSE-N. An empty one is not sent."""
    _: KW_ONLY
    sop_instance_uid: str | None = None
    """Affected SOP Instance UID (0000,1000). None: that of the request. If a successful N-CREATE has none in its
    request, one is generated."""
    attributes: Sequence[int] | None = None
    """Attribute Identifier List (0000,1005): tags that were not recognized (N-GET, N-SET, N-CREATE)."""
    error_comment: str | None = field(default=None, repr=False)
    """Error Comment (0000,0902): 64 characters of text."""
    error_id: int | None = None
    """Error ID (0000,0903)."""
    offending_elements: Sequence[int] = ()
    """Offending Element (0000,0901): tags."""


@record(frozen=True)
class Response:
    """The final response to an operation.

    Responses are equal, and have the same hash, if everything except `message` and `peer` is equal. The hash leaves
    data sets out.
    """

    status: Status
    """Status (0000,0900), with its meaning for the SOP class."""
    error_comment: str | None = None
    """Error Comment (0000,0902)."""
    offending_elements: tuple[int, ...] = ()
    """Offending Element (0000,0901): tags."""
    error_id: int | None = None
    """Error ID (0000,0903)."""
    progress: Progress | None = None
    """The counters of a C-GET or C-MOVE; None for other services."""
    failed_sop_instance_uids: tuple[str, ...] = ()
    """Failed SOP Instance UID List (0008,0058) of a C-GET or C-MOVE."""
    dataset: Dataset | None = field(default=None, repr=False)
    """The data set of the response (of N-GET, N-ACTION and so on); None if it has none."""
    message: messages.Response | None = field(default=None, repr=False, compare=False)
    """The command set."""
    peer: str | None = field(default=None, repr=False, compare=False)
    """The peer that sent it, `PACS@192.0.2.8:104`."""

    def __hash__(self) -> int:
        return hash((self.status, self.error_comment, self.offending_elements, self.error_id, self.progress))

    @property
    def sop_instance_uid(self) -> str | None:
        """Affected SOP Instance UID (0000,1000). For an N-CREATE that is the instance that was created."""
        return getattr(self.message, "affected_sop_instance_uid", None)

    @property
    def attributes(self) -> tuple[int, ...]:
        """Attribute Identifier List (0000,1005): tags that the peer did not recognize (N-GET, N-SET, N-CREATE)."""
        return getattr(self.message, "attribute_identifier_list", None) or ()

    def raise_for_status(self) -> Self:
        """Return the response if its status means success.

        Raises:
            DIMSEFailure: The status is a Failure.
            IncompleteRetrieval: A C-GET or C-MOVE ended with sub-operations that failed.
        """
        error: DIMSEFailure | IncompleteRetrieval
        if self.status.category is Category.FAILURE:
            error = DIMSEFailure(
                self.status,
                self.error_comment,
                offending_elements=self.offending_elements,
                progress=self.progress,
                failed_sop_instance_uids=self.failed_sop_instance_uids,
            )
        elif self.is_incomplete and self.status.category is not Category.CANCEL:
            error = IncompleteRetrieval(self.status, self.progress, self.failed_sop_instance_uids)
        else:
            return self
        if self.message is not None and self.peer is not None:
            request = self.message.name.replace("RSP", "RQ")
            error = error.during(f"{request} {self.message.message_id_being_responded_to}", self.peer)
        raise error

    @property
    def is_incomplete(self) -> bool:
        """Whether it ends a C-GET or C-MOVE that had failed sub-operations (PS3.4 C.4.2.1.8, C.4.3.1.8)."""
        progress = self.progress
        if progress is None:
            return False
        # B000 means "one or more failures or warnings". If no counter says which, failures are assumed.
        unsaid = self.status == answers.SOME_FAILED and not (progress.completed or progress.warning)
        return progress.failed > 0 or bool(self.failed_sop_instance_uids) or unsaid


def status_of(code: int, sop_class_uid: str, service: str) -> Status:
    """Return a status with its meaning for the service class of a SOP class."""
    row = sop_class.lookup(sop_class_uid)
    return Status(code, row.service_class if row is not None else None, service)


def progress_of(message: messages.Response) -> Progress | None:
    """Return the counters of a C-GET or C-MOVE response."""
    if not isinstance(message, messages.SuboperationsResponse):
        return None
    return Progress(
        message.number_of_remaining_suboperations,
        message.number_of_completed_suboperations or 0,
        message.number_of_failed_suboperations or 0,
        message.number_of_warning_suboperations or 0,
    )


def response_of(
    request: messages.Request,
    message: messages.Response,
    *,
    peer: str,
    dataset: Dataset | None = None,
    failed_sop_instance_uids: Sequence[str] = (),
) -> Response:
    """Make the public form of a final response."""
    return Response(
        status=status_of(message.status, request.sop_class_uid, request.service),
        error_comment=message.error_comment,
        offending_elements=message.offending_element or (),
        error_id=message.error_id,
        progress=progress_of(message),
        failed_sop_instance_uids=tuple(failed_sop_instance_uids),
        dataset=dataset,
        message=message,
        peer=peer,
    )
