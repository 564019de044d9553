"""Reads and sends the requests and reports of the Storage Commitment Push Model (PS3.4 J): N-ACTION, N-EVENT-REPORT."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import Final, Protocol, Self

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.tag import BaseTag

from aiodimse import datasets
from aiodimse.aio.turns import in_shares
from aiodimse.errors import DatasetDecodeError, DIMSEFailure
from aiodimse.record import record
from aiodimse.services.request import NormalizedRequest
from aiodimse.services.response import Response
from aiodimse.standard import answers, sop_class
from aiodimse.standard.values import UID_LENGTH

SOP_CLASS: Final = sop_class.StorageCommitmentPushModel
INSTANCE: Final = "1.2.840.10008.1.20.1.1"
"""The well-known SOP Instance UID (PS3.4 J.3.5)."""
MAX_REFERENCES: Final = 65535
"""The most instances in one request."""

NO_SUCH_INSTANCE: Final = 0x0112
"""A Failure Reason (PS3.4 J.3.3.1.1): the instance is not held."""
CLASS_CONFLICT: Final = 0x0119
"""A Failure Reason: it is held, with another SOP class."""
PROCESSING_FAILURE: Final = 0x0110
"""A Failure Reason: any other."""

_REFERENCED_SOP_CLASS_UID: Final = BaseTag(0x00081150)
_REFERENCED_SOP_INSTANCE_UID: Final = BaseTag(0x00081155)
_FAILURE_REASON: Final = BaseTag(0x00081197)
_FAILED_SOP_SEQUENCE: Final = BaseTag(0x00081198)
_REFERENCED_SOP_SEQUENCE: Final = BaseTag(0x00081199)
_REQUEST_COMMITMENT: Final = 1
_ALL_COMMITTED, _SOME_FAILED = 1, 2


class Requestor(Protocol):
    """An association on which N-ACTION can be asked for."""

    async def n_action(
        self, sop_class_uid: str, sop_instance_uid: str, action_type_id: int, dataset: Dataset | None = None
    ) -> Response:
        """As `Association.n_action`."""
        ...


class Reporter(Protocol):
    """An association on which N-EVENT-REPORT can be sent."""

    async def n_event_report(
        self, sop_class_uid: str, sop_instance_uid: str, event_type_id: int, dataset: Dataset | None = None
    ) -> Response:
        """As `Association.n_event_report`."""
        ...


@record(frozen=True)
class Reference:
    """An instance that is to be committed."""

    sop_class_uid: str
    """Referenced SOP Class UID (0008,1150)."""
    sop_instance_uid: str
    """Referenced SOP Instance UID (0008,1155)."""
    failure_reason: int = 0
    """Failure Reason (0008,1197) in a report; 0: it is committed."""


@record(frozen=True)
class CommitmentRequest:
    """What an N-ACTION asks for (PS3.4 Table J.3-1).

    Examples:
        >>> request = commitment.CommitmentRequest(generate_uid(), (commitment.Reference(sop_class_uid, uid),))
        >>> (await request.send(association)).raise_for_status()
    """

    transaction_uid: str
    """Transaction UID (0008,1195): the report names it."""
    references: tuple[Reference, ...] = field(repr=False)
    """Referenced SOP Sequence (0008,1199)."""

    @classmethod
    def read(cls, request: NormalizedRequest) -> Self:
        """Read the N-ACTION that a handler was given.

        Args:
            request: The request.

        Returns:
            What it asks for.

        Raises:
            DIMSEFailure: With the status that answers it: 0123 for another action, 0120 for a Transaction UID or
                instances that are missing, 0213 for more than MAX_REFERENCES instances.
        """
        transaction_uid, references = cls._begin(request)
        return cls._end(transaction_uid, list(references))

    @classmethod
    async def read_in_shares(cls, request: NormalizedRequest) -> Self:
        """Read as `read` does, but for no more than 2 ms of a turn of the event loop.

        An instance takes about 20 us, and a request may have thousands.

        Args:
            request: The request.

        Returns:
            What it asks for.

        Raises:
            DIMSEFailure: As `read`.

        Cancellation: what was read is dropped.
        """
        transaction_uid, references = cls._begin(request)
        return cls._end(transaction_uid, await in_shares(references))

    @classmethod
    def _begin(cls, request: NormalizedRequest) -> tuple[str, Iterator[Reference]]:
        if request.action_type_id != _REQUEST_COMMITMENT:
            raise DIMSEFailure(0x0123, "the action type is not 1")
        return _transaction_uid(request.dataset), _references(request.dataset)

    @classmethod
    def _end(cls, transaction_uid: str, references: list[Reference]) -> Self:
        committed = tuple(each for each in references if not each.failure_reason)
        if not committed:
            raise DIMSEFailure(0x0120, "no instances to commit", offending_elements=[_REFERENCED_SOP_SEQUENCE])
        return cls(transaction_uid, committed)

    async def send(self, association: Requestor) -> Response:
        """Ask a provider to commit the instances.

        Args:
            association: Its association.

        Returns:
            The response: Success means that a report will follow.

        Raises:
            NoAcceptedContext: As `Association.n_action`.
            AssociationError: As there.

        Cancellation: The response is awaited in the background.
        """
        dataset = await _dataset(self.transaction_uid, {_REFERENCED_SOP_SEQUENCE: self.references})
        return await association.n_action(SOP_CLASS, INSTANCE, _REQUEST_COMMITMENT, dataset)


@record(frozen=True)
class CommitmentReport:
    """What an N-EVENT-REPORT tells (PS3.4 Table J.3-2)."""

    transaction_uid: str
    """Transaction UID (0008,1195) of the request."""
    references: tuple[Reference, ...] = field(repr=False)
    """Every instance of the request, with a failure reason where it is not committed."""
    retrieve_ae_title: str | None = None
    """Retrieve AE Title (0008,0054): where the committed ones can be retrieved from."""

    @classmethod
    def read(cls, request: NormalizedRequest) -> Self:
        """Read the N-EVENT-REPORT that a handler was given.

        Args:
            request: The request.

        Returns:
            What it tells. A failed instance without a valid failure reason has PROCESSING_FAILURE.

        Raises:
            DIMSEFailure: With the status that answers it: 0113 for another event, 0120 for a Transaction UID that is
                missing.
        """
        transaction_uid, references = cls._begin(request)
        return cls._end(request, transaction_uid, list(references))

    @classmethod
    async def read_in_shares(cls, request: NormalizedRequest) -> Self:
        """Read as `read` does, but for no more than 2 ms of a turn of the event loop.

        Args:
            request: The request.

        Returns:
            What it tells.

        Raises:
            DIMSEFailure: As `read`.

        Cancellation: what was read is dropped.
        """
        transaction_uid, references = cls._begin(request)
        return cls._end(request, transaction_uid, await in_shares(references))

    @classmethod
    def _begin(cls, request: NormalizedRequest) -> tuple[str, Iterator[Reference]]:
        if request.event_type_id not in (_ALL_COMMITTED, _SOME_FAILED):
            raise DIMSEFailure(0x0113, "the event type is neither 1 nor 2")
        return _transaction_uid(request.dataset), _references(request.dataset)

    @classmethod
    def _end(cls, request: NormalizedRequest, transaction_uid: str, references: list[Reference]) -> Self:
        title = request.dataset.get("RetrieveAETitle") if request.dataset is not None else None
        return cls(transaction_uid, tuple(references), str(title) if title else None)

    async def send(self, association: Reporter) -> Response:
        """Report to the peer that has asked.

        Args:
            association: That of the request if it is still open, or one of our own with the role SCP.

        Returns:
            The response.

        Raises:
            NoAcceptedContext: As `Association.n_event_report`.
            AssociationError: As there.

        Cancellation: The response is awaited in the background.
        """
        committed = [each for each in self.references if not each.failure_reason]
        failed = [each for each in self.references if each.failure_reason]
        sequences = {_REFERENCED_SOP_SEQUENCE: committed, _FAILED_SOP_SEQUENCE: failed}
        dataset = await _dataset(self.transaction_uid, {tag: found for tag, found in sequences.items() if found})
        if self.retrieve_ae_title is not None:
            dataset.RetrieveAETitle = self.retrieve_ae_title
        event_type_id = _SOME_FAILED if failed else _ALL_COMMITTED
        return await association.n_event_report(SOP_CLASS, INSTANCE, event_type_id, dataset)


async def _dataset(transaction_uid: str, sequences: Mapping[BaseTag, Iterable[Reference]]) -> Dataset:
    """Make a data set, for which each reference takes about 20 us."""
    encoded = {tag: await in_shares(map(datasets.encoded_item, _items(found))) for tag, found in sequences.items()}
    dataset = datasets.dataset_of_sequences(encoded)
    dataset.add(datasets.uid_element("TransactionUID", transaction_uid))
    return dataset


def _items(references: Iterable[Reference]) -> Iterator[Dataset]:
    for reference in references:
        found: list[tuple[BaseTag, str, str | int]] = [
            (_REFERENCED_SOP_CLASS_UID, "UI", reference.sop_class_uid),
            (_REFERENCED_SOP_INSTANCE_UID, "UI", reference.sop_instance_uid),
        ]
        if reference.failure_reason:
            found.append((_FAILURE_REASON, "US", reference.failure_reason))
        # Not converted: pydicom would take half of the time to check the values, and log those that are not valid.
        yield Dataset({tag: DataElement(tag, vr, value, already_converted=True) for tag, vr, value in found})


def _transaction_uid(dataset: Dataset | None) -> str:
    transaction_uid = str(dataset.get("TransactionUID") or "") if dataset is not None else ""
    if not transaction_uid or len(transaction_uid) > UID_LENGTH:
        raise DIMSEFailure(0x0120, "no Transaction UID", offending_elements=[0x00081195])
    return transaction_uid


def _references(dataset: Dataset | None) -> Iterator[Reference]:
    """Yield the instances in Referenced and in Failed SOP Sequence; the latter have a failure reason."""
    left = MAX_REFERENCES
    for tag in (_REFERENCED_SOP_SEQUENCE, _FAILED_SOP_SEQUENCE):
        for item in _items_of(dataset or Dataset(), tag):
            left -= 1
            if left < 0:
                raise DIMSEFailure(0x0213, f"more than {MAX_REFERENCES} instances")
            yield _reference(item, has_failed=tag == _FAILED_SOP_SEQUENCE)


def _items_of(dataset: Dataset, tag: BaseTag) -> Iterator[Dataset]:
    try:
        yield from datasets.items_in_turn(dataset, tag)
    except DatasetDecodeError:
        words = "a sequence that does not decode"
        raise DIMSEFailure(answers.MISTYPED_ARGUMENT, words, offending_elements=[tag]) from None


def _reference(item: Dataset, *, has_failed: bool) -> Reference:
    sop_class_uid, sop_instance_uid = _uid(item, _REFERENCED_SOP_CLASS_UID), _uid(item, _REFERENCED_SOP_INSTANCE_UID)
    if not (sop_class_uid and sop_instance_uid):
        raise DIMSEFailure(0x0120, "an instance without its UIDs", offending_elements=[_REFERENCED_SOP_SEQUENCE])
    return Reference(sop_class_uid, sop_instance_uid, _failure_reason(item) if has_failed else 0)


def _failure_reason(item: Dataset) -> int:
    """Return the reason for a failure. One that is missing or is not a number of 16 bits counts as any other."""
    try:
        reason = item.get("FailureReason")
    except BytesLengthException:
        return PROCESSING_FAILURE
    return int(reason) if isinstance(reason, int) and 0 < reason <= 0xFFFF else PROCESSING_FAILURE


def _uid(item: Dataset, tag: BaseTag) -> str:
    element = item.get(tag)
    return "" if element is None else str(element.value or "")
