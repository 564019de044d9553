"""Storage Commitment Push Model (PS3.4 J) as a provider.

An N-ACTION is answered at once, and its transaction is stored in the index. The result is reported by N-EVENT-REPORT on
the same association, or on one to the destination with the AE title of the peer. The report is repeated until the peer
accepts it, even after a restart, and also if an association ends before the response: the report may have been lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from time import time

import aiodimse
from aiodimse import commitment

from .archive import Archive
from .index import Entry, Transaction
from .threads import in_thread

_log = logging.getLogger(__name__)

MAX_OPEN = 1000
"""The largest number of transactions that are not yet reported. A further one is refused (0213)."""
MAX_OPEN_REFERENCES = 1_000_000
"""The largest number of instances in transactions that are not yet reported, which take about 300 MB."""
_AT_ONCE = 500
"""Instances of which the outcome is told in one turn of the event loop, in about 1 ms."""
KEEP = 7 * 24 * 3600
"""Seconds after which a transaction is dropped if the peer accepts no report."""

_WAITS = (1.0, 5.0, 30.0, 60.0, 300.0)
"""Seconds before each further attempt. The last value is used for all later ones."""
_LOOK_AGAIN = 30.0
"""Seconds between two searches for transactions of processes that died."""
_AFTER_RESPONSE = 0.1
"""Seconds to wait before a report on the same association, so that the peer reads the N-ACTION response first."""


class Commitment:
    """Answers N-ACTION requests, and reports on them.

    Args:
        archive: The archive that has the instances.
        destinations: Addresses by AE title, read at each attempt.
        ae_title: The calling AE title for reports.
        waits: Seconds before each further attempt. The last value is used for all later ones.
    """

    def __init__(
        self,
        archive: Archive,
        destinations: Mapping[str, aiodimse.Destination | tuple[str, int]],
        ae_title: str,
        waits: tuple[float, ...] = _WAITS,
    ) -> None:
        self._archive, self._destinations, self._ae_title, self._waits = archive, destinations, ae_title, waits
        self._reading = asyncio.Lock()
        """Held while one request is read, so that those which are half read have a bound together."""
        self._looking = asyncio.Lock()
        """Held while the instances of one transaction are looked up, which takes a turn of the event loop."""
        self._taking_over = asyncio.Lock()
        """Held while the transactions are looked for on which no process reports."""
        self._references = 0
        """Instances of the transactions on which this process reports."""
        self._reports: dict[str, _Report] = {}
        """The reports of this process, by the name of their lock."""

    async def accept(self, request: aiodimse.NormalizedRequest) -> int:
        """Handle an N-ACTION request: store the transaction, and begin to report on it.

        A peer that asks again before it was told is told once, on its new association.
        """
        async with self._reading:
            transaction = await _transaction(request)
        archive = self._archive
        async with AsyncExitStack() as held:
            with archive.availability.asked(0x0213):
                if await archive.index.open_transactions() >= MAX_OPEN:
                    raise aiodimse.DIMSEFailure(0x0213, f"more than {MAX_OPEN} transactions are open")
                if self._references + len(transaction.references) > MAX_OPEN_REFERENCES:
                    raise aiodimse.DIMSEFailure(0x0213, f"more than {MAX_OPEN_REFERENCES} instances wait for a report")
                while True:
                    before = self._reports.get(_name(transaction))
                    # The lock is taken first: otherwise another process may see the transaction and report on it.
                    is_ours = await held.enter_async_context(archive.locks.try_hold(_name(transaction)))
                    stored = await archive.index.put_transaction(transaction)
                    report = self._reports.get(_name(transaction), before)
                    if not is_ours and report is not None and report.is_taken:
                        await report.ended.wait()  # it held the lock of a transaction that is over
                    elif not is_ours and report is None and self._taking_over.locked():
                        await self._taken_over()  # it held the lock to see whether there is such a transaction
                    else:
                        break
            if stored.references != transaction.references:
                raise aiodimse.DIMSEFailure(0x0115, "this Transaction UID is in use for other instances")
            if is_ours:
                reporting = self._report_on(stored, held.pop_all(), request.association)
                archive.background(reporting, "aiodimse storage commitment")
            elif report is not None:
                report.ask_again(request.association)
        return 0x0000

    async def resume(self) -> None:
        """Report on transactions that were stored before a restart, or that another process left when it died.

        Whoever reports on a transaction holds its lock until the report is accepted, so no two processes report on it.
        """
        while True:
            try:
                await self._take_over()
            except Exception as error:  # database drivers raise errors of their own
                if not self._archive.locks.are_shared:
                    raise
                _log.warning("open storage commitments cannot be read: %s", type(error).__name__)
            if not self._archive.locks.are_shared:
                return
            await asyncio.sleep(_LOOK_AGAIN)

    async def _taken_over(self) -> None:
        async with self._taking_over:
            pass

    async def _take_over(self) -> None:
        """Report on every transaction on which no process reports."""
        async with self._taking_over:
            await self._take_those_without_a_report()

    async def _take_those_without_a_report(self) -> None:
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
            # The process that held a lock until now may have dropped the transaction, so they are read again.
            for transaction in await self._archive.index.transactions():
                if (mine := held.pop(_name(transaction), None)) is not None:
                    self._archive.background(self._report_on(transaction, mine), "aiodimse storage commitment")
        finally:
            for stack in held.values():
                await stack.aclose()

    async def _report_on(
        self, transaction: Transaction, held: AsyncExitStack, association: aiodimse.ProviderAssociation | None = None
    ) -> None:
        """Report a transaction until the report is accepted, and release its lock."""
        self._references += len(transaction.references)
        report = self._reports[_name(transaction)] = _Report(association)
        try:
            async with held:
                await self._report(transaction, report)
        finally:
            if self._reports.get(_name(transaction)) is report:  # no other one has begun, now that the lock is free
                del self._reports[_name(transaction)]
            report.ended.set()
            self._references -= len(transaction.references)

    async def _report(self, transaction: Transaction, asked: _Report) -> None:
        attempt = 0
        while time() < transaction.created + KEEP:
            try:
                with self._archive.availability.asked(0x0213):
                    async with self._looking:
                        report = await self._outcome(transaction)
                response = await self._send(transaction, asked.take_association(), report)
                if response is not None and response.status.category is not aiodimse.Category.FAILURE:
                    break
            except (aiodimse.AiodimseError, OSError) as error:
                _log.info("a storage commitment was not taken: %s", type(error).__name__)
            await asked.wait(self._waits[min(attempt, len(self._waits) - 1)])
            attempt += 1
        else:
            _log.warning("a storage commitment is given up: nobody took it")
        asked.is_taken = True
        with suppress(aiodimse.DIMSEFailure), self._archive.availability.asked(0x0213):
            # If this fails, the transaction is reported once more after a restart.
            await self._archive.index.drop_transaction(transaction)

    async def _send(
        self,
        transaction: Transaction,
        association: aiodimse.ProviderAssociation | None,
        report: commitment.CommitmentReport,
    ) -> aiodimse.Response | None:
        """Make one attempt. Return None if there is no address to connect to."""
        if association is not None:
            await asyncio.sleep(_AFTER_RESPONSE)
            return await report.send(association)
        where = self._destinations.get(transaction.calling_ae_title)
        if where is None:
            return None
        destination = where if isinstance(where, aiodimse.Destination) else aiodimse.Destination(*where)
        async with aiodimse.connect(
            destination.host,
            destination.port,
            ae_title=self._ae_title,
            called_ae_title=transaction.calling_ae_title,
            contexts=[aiodimse.PresentationContext(commitment.SOP_CLASS, scu=False, scp=True)],
            ssl=destination.ssl,
        ) as called:
            return await report.send(called)

    async def _outcome(self, transaction: Transaction) -> commitment.CommitmentReport:
        """Return what the report says at this time."""
        archive, uids = self._archive, [uid for _, uid in transaction.references]
        # `Retention` removes no study that is in use, and reads the transactions after it has locked a study.
        async with archive.in_use((await archive.index.lookup(uids)).values()):
            entries = await archive.index.lookup(uids)
        kept = await in_thread(_those_there, self._archive.storage.stamp, entries)
        references: list[commitment.Reference] = []
        for start in range(0, len(uids), _AT_ONCE):
            some = transaction.references[start : start + _AT_ONCE]
            references += [_reference(*each, kept) for each in some]
            await asyncio.sleep(0)  # others have their turn
        return commitment.CommitmentReport(transaction.uid, tuple(references), self._ae_title)


def _those_there(stamp: Callable[[str], object], entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return the entries whose instances are in the storage; called in a thread."""
    return {uid: entry for uid, entry in entries.items() if stamp(entry.location) is not None}


def _reference(sop_class_uid: str, uid: str, kept: Mapping[str, Entry]) -> commitment.Reference:
    entry, reason = kept.get(uid), 0
    if entry is None:
        reason = commitment.NO_SUCH_INSTANCE
    elif entry.sop_class_uid != sop_class_uid:
        reason = commitment.CLASS_CONFLICT
    return commitment.Reference(sop_class_uid, uid, reason)


async def _transaction(request: aiodimse.NormalizedRequest) -> Transaction:
    """Read an N-ACTION."""
    asked = await commitment.CommitmentRequest.read_in_shares(request)
    references = tuple((each.sop_class_uid, each.sop_instance_uid) for each in asked.references)
    return Transaction(asked.transaction_uid, request.association.calling_ae_title, references, int(time()))


class _Report:
    """A report that a peer waits for.

    Args:
        association: The association on which the peer asked for it; None: it asked before a restart.
    """

    def __init__(self, association: aiodimse.ProviderAssociation | None) -> None:
        self._association = association
        self._is_asked_again = asyncio.Event()
        self.is_taken = False
        """Whether it was accepted or given up, and only the transaction is still to be forgotten."""
        self.ended = asyncio.Event()
        """Set when the lock of the transaction is released."""

    def take_association(self) -> aiodimse.ProviderAssociation | None:
        """Return the association on which the peer asked last. None: it was tried."""
        association, self._association = self._association, None
        return association

    def ask_again(self, association: aiodimse.ProviderAssociation) -> None:
        """Note that the peer has asked again, on an association on which it can be told."""
        self._association = association
        self._is_asked_again.set()

    async def wait(self, seconds: float) -> None:
        """Wait until it is time for another attempt, or the peer has asked again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_asked_again.wait()
        self._is_asked_again.clear()


def _name(transaction: Transaction) -> str:
    """Return the name of the lock of a transaction."""
    return f"commitment {transaction.calling_ae_title} {transaction.uid}"
