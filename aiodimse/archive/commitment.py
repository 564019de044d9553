"""Storage Commitment Push Model (PS3.4 J), as its provider.

An N-ACTION is answered at once and kept in the index. What becomes of it is told by N-EVENT-REPORT, on the same
association, else on one to the address that the peer's AE title has among the destinations, again and again until it is
taken; a restart goes on with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from time import time

from pydicom import Dataset

import aiodimse
from aiodimse import sop_class

from .archive import Archive
from .index import Transaction

_log = logging.getLogger(__name__)

COMMITMENT = sop_class.StorageCommitmentPushModel
INSTANCE = "1.2.840.10008.1.20.1.1"
"""The well-known SOP Instance UID (PS3.4 J.3.5)."""
MAX_REFERENCES = 65535
MAX_OPEN = 1000
"""Transactions that were not reported yet; one more is refused (0213)."""
KEEP = 7 * 24 * 3600
"""Seconds after which a transaction that nobody takes is given up."""

_WAITS = (1.0, 5.0, 30.0, 60.0, 300.0)
"""Seconds before each further attempt; the last one repeats."""
_LOOK_AGAIN = 30.0
"""Seconds after which a process looks for transactions whose process has died."""
_AFTER_RESPONSE = 0.1
"""Seconds that a report on the same association waits, for the response to the N-ACTION to be read first."""

_REQUEST_COMMITMENT, _ALL_KEPT, _SOME_FAILED = 1, 1, 2  # action type, event types (J.3.2, J.3.3)
_NO_SUCH_INSTANCE, _CLASS_CONFLICT = 0x0112, 0x0119  # Failure Reason (J.3.3.1.1)


class Commitment:
    """Answers N-ACTION requests and reports.

    Args:
        archive: What is committed.
        destinations: Addresses by AE title, read at each attempt.
        ae_title: Who calls them.
        waits: Seconds before each further attempt; the last one repeats.
    """

    def __init__(
        self,
        archive: Archive,
        destinations: Mapping[str, aiodimse.Destination | tuple[str, int]],
        ae_title: str,
        waits: tuple[float, ...] = _WAITS,
    ) -> None:
        self._archive, self._destinations, self._ae_title, self._waits = archive, destinations, ae_title, waits

    async def asked(self, request: aiodimse.NormalizedRequest) -> int:
        """Handle an N-ACTION request: keep the transaction, and report on it soon."""
        if request.action_type_id != _REQUEST_COMMITMENT:
            raise aiodimse.DIMSEFailure(0x0123, "the action type is not 1")
        transaction = _transaction(request.dataset, request.association.calling_ae_title)
        if len(await self._archive.index.transactions()) >= MAX_OPEN:
            raise aiodimse.DIMSEFailure(0x0213, f"more than {MAX_OPEN} transactions are open")
        await self._archive.index.put_transaction(transaction)
        self._archive.background(self._asked(transaction, request.association), "aiodimse storage commitment")
        return 0x0000

    async def resume(self) -> None:
        """Report on what was kept before a restart, and on what a process that died leaves to the others.

        Whoever reports on a transaction holds its lock until it is taken, and so no two processes report on one.
        """
        while True:
            try:
                await self._take_over()
            except Exception as error:  # of a driver, too
                if not self._archive.locks.are_shared:
                    raise
                _log.warning("open storage commitments cannot be read: %s", type(error).__name__)
            if not self._archive.locks.are_shared:
                return
            await asyncio.sleep(_LOOK_AGAIN)

    async def _take_over(self) -> None:
        """Report on every transaction that nobody reports on."""
        held: dict[str, AsyncExitStack] = {}
        try:
            for transaction in await self._archive.index.transactions():
                stack = AsyncExitStack()
                if await stack.enter_async_context(self._archive.locks.try_hold(_name(transaction))):
                    held[_name(transaction)] = stack
                else:
                    await stack.aclose()
            if not held:
                return
            # Whoever held a lock until now may have dropped its transaction: the second look counts.
            for transaction in await self._archive.index.transactions():
                if (mine := held.pop(_name(transaction), None)) is not None:
                    self._archive.background(self._resumed(transaction, mine), "aiodimse storage commitment")
        finally:
            for stack in held.values():
                await stack.aclose()

    async def _asked(self, transaction: Transaction, association: aiodimse.ProviderAssociation) -> None:
        async with self._archive.locks.try_hold(_name(transaction)) as is_held:
            if is_held:
                await self._report(transaction, association)

    async def _resumed(self, transaction: Transaction, held: AsyncExitStack) -> None:
        async with held:
            await self._report(transaction, None)

    async def _report(self, transaction: Transaction, association: aiodimse.ProviderAssociation | None) -> None:
        """Report until it is taken."""
        attempt = 0
        while time() < transaction.created + KEEP:
            event_type, report = await self._outcome(transaction)
            try:
                response = await self._send(transaction, association, event_type, report)
                if response is not None and response.status.category is not aiodimse.Category.FAILURE:
                    break
            except (aiodimse.AiodimseError, OSError) as error:
                _log.info("a storage commitment was not taken: %s", type(error).__name__)
            association = None
            await asyncio.sleep(self._waits[min(attempt, len(self._waits) - 1)])
            attempt += 1
        else:
            _log.warning("a storage commitment is given up: nobody took it")
        await self._archive.index.drop_transaction(transaction)

    async def _send(
        self,
        transaction: Transaction,
        association: aiodimse.ProviderAssociation | None,
        event_type: int,
        report: Dataset,
    ) -> aiodimse.Response | None:
        """One attempt; None where there is no address to call."""
        if association is not None:
            await asyncio.sleep(_AFTER_RESPONSE)
            return await association.n_event_report(COMMITMENT, INSTANCE, event_type, report)
        where = self._destinations.get(transaction.calling_ae_title)
        if where is None:
            return None
        destination = where if isinstance(where, aiodimse.Destination) else aiodimse.Destination(*where)
        async with aiodimse.connect(
            destination.host,
            destination.port,
            ae_title=self._ae_title,
            called_ae_title=transaction.calling_ae_title,
            contexts=[aiodimse.PresentationContext(COMMITMENT, scu=False, scp=True)],
            ssl=destination.ssl,
        ) as called:
            return await called.n_event_report(COMMITMENT, INSTANCE, event_type, report)

    async def _outcome(self, transaction: Transaction) -> tuple[int, Dataset]:
        """The event type and the data set of the report (PS3.4 Table J.3-2)."""
        archive = self._archive
        entries = await archive.index.lookup([uid for _, uid in transaction.references])
        locations = {uid: entry.location for uid, entry in entries.items()}
        there = await asyncio.to_thread(
            lambda: {uid for uid, location in locations.items() if archive.storage.stamp(location) is not None}
        )
        kept: list[Dataset] = []
        failed: list[Dataset] = []
        for sop_class_uid, uid in transaction.references:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, uid
            if uid not in there:
                item.FailureReason = _NO_SUCH_INSTANCE
            elif entries[uid].sop_class_uid != sop_class_uid:
                item.FailureReason = _CLASS_CONFLICT
            (failed if "FailureReason" in item else kept).append(item)
        report = Dataset()
        report.TransactionUID = transaction.uid
        report.RetrieveAETitle = self._ae_title
        if kept:
            report.ReferencedSOPSequence = kept
        if failed:
            report.FailedSOPSequence = failed
        return (_SOME_FAILED if failed else _ALL_KEPT), report


def _name(transaction: Transaction) -> str:
    """What its lock is called."""
    return f"commitment {transaction.calling_ae_title} {transaction.uid}"


def _transaction(dataset: Dataset | None, calling_ae_title: str) -> Transaction:
    """The transaction that an N-ACTION asks for (PS3.4 Table J.3-1)."""
    uid = str(dataset.get("TransactionUID", "") or "") if dataset is not None else ""
    items = (dataset.get("ReferencedSOPSequence") or []) if dataset is not None else []
    references = tuple(
        (str(item.get("ReferencedSOPClassUID", "") or ""), str(item.get("ReferencedSOPInstanceUID", "") or ""))
        for item in items
    )
    if not uid or len(uid) > 64:
        raise aiodimse.DIMSEFailure(0x0120, "no Transaction UID", offending_elements=[0x00081195])
    if not references or not all(map(all, references)):
        raise aiodimse.DIMSEFailure(0x0120, "no instances to commit", offending_elements=[0x00081199])
    if len(references) > MAX_REFERENCES:
        raise aiodimse.DIMSEFailure(0x0213, f"more than {MAX_REFERENCES} instances")
    return Transaction(uid, calling_ae_title, references, int(time()))
