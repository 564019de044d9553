"""Answers as both sides see them: the Response that a user gets, and what a handler may hand back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from pydicom.dataset import Dataset

from aiodimse.dimse import messages
from aiodimse.dimse.status import Status
from aiodimse.errors import DIMSEFailure
from aiodimse.record import Record
from aiodimse.standard import sop_class
from aiodimse.standard.status import Category


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Progress(Record):
    """The counters of a C-GET or C-MOVE (PS3.7 9.1.3.1, 9.1.4.1): numbers of C-STORE sub-operations.

    remaining is None where the response does not say: most final responses.
    """

    remaining: int | None = None
    completed: int = 0
    failed: int = 0
    warning: int = 0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class EncodedDataset(Record):
    """A data set that is encoded already; may stand wherever a handler yields a Dataset.

    transfer_syntax: the UID in which data is encoded; it must be that of the presentation context it is sent in.
    """

    data: bytes = field(repr=False)
    transfer_syntax: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Response(Record):
    """The final response to an operation.

    progress is None but for C-GET and C-MOVE; failed_sop_instance_uids comes from their Failed SOP Instance UID List;
    dataset is what came with it (N-GET, N-ACTION and so on), None where nothing did.
    """

    status: Status
    error_comment: str | None = None
    offending_elements: tuple[int, ...] = ()
    error_id: int | None = None
    progress: Progress | None = None
    failed_sop_instance_uids: tuple[str, ...] = ()
    dataset: Dataset | None = field(default=None, repr=False)
    message: messages.Response | None = field(default=None, repr=False)

    def raise_for_status(self) -> Self:
        """Itself; raises DIMSEFailure where the status is a Failure."""
        if self.status.category is Category.FAILURE:
            raise DIMSEFailure(
                self.status,
                self.error_comment,
                offending_elements=self.offending_elements,
                progress=self.progress,
                failed_sop_instance_uids=self.failed_sop_instance_uids,
            )
        return self


def status_of(code: int, sop_class_uid: str, service: str) -> Status:
    """The status with its meaning for the service class of that SOP class."""
    row = sop_class.lookup(sop_class_uid)
    return Status(code, row.service_class if row is not None else None, service)


def progress_of(message: messages.Response) -> Progress | None:
    """The counters of a C-GET or C-MOVE response."""
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
    dataset: Dataset | None = None,
    failed_sop_instance_uids: Sequence[str] = (),
) -> Response:
    """The public form of a final response."""
    return Response(
        status=status_of(message.status, request.sop_class_uid, request.service),
        error_comment=message.error_comment,
        offending_elements=message.offending_element or (),
        error_id=message.error_id,
        progress=progress_of(message),
        failed_sop_instance_uids=tuple(failed_sop_instance_uids),
        dataset=dataset,
        message=message,
    )
