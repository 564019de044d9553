"""Storage Commitment Push Model (PS3.4 J) as a provider.

An N-ACTION is answered at once, and its transaction is stored in the index. The result is reported by N-EVENT-REPORT on
the same association, or on one to the destination with the AE title of the peer. The report is repeated until the peer
accepts it, even after a restart, and also if an association ends before the response: the report may have been lost.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager, suppress
from time import time
from weakref import WeakValueDictionary

import aiodimse
from aiodimse import commitment

from .archive import Archive
from .availability import Seldom
from .clock_record import CheckedClock, ClockRecord, since_boot
from .index import Entry, Transaction, TransactionName
from .storage import Storage
from .threads import in_thread

_log = logging.getLogger(__name__)

MAX_OPEN = 1000
"""The largest number of transactions that are not yet reported. A further one is refused (0213)."""
MAX_OPEN_REFERENCES = 1_000_000
"""The largest number of instances in transactions that are not yet reported, which take about 300 MB."""
_SHARE = 0.5
"""The part of both that one peer may have: one that takes no report must not keep all others from asking."""
_AT_ONCE = 500
"""Instances of which the outcome is told in one turn of the event loop, in about 1 ms."""
KEEP = 7 * 24 * 3600
"""Seconds after which a transaction is dropped if the peer accepts no report. Those that the clock skips do not count:
otherwise a clock that is wrong drops all of them, and the peers keep their instances and wait."""
_HOUR = 3600
"""Seconds after which it is recorded again how far the clock has come."""

_WAITS = (1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 1800.0)
"""Seconds before each further attempt. The last value is used for all later ones, some 340 in seven days."""
_LAST_BEFORE_WARNING = 4
"""The number of the attempt, counted from 0, at which the log says as a warning that a report is not taken."""
_CALLS_TO_A_PEER = 4
"""Associations to one peer at a time. With 1000 open transactions a peer that comes back would get as many at once."""
_LOOK_AGAIN = 30.0
"""Seconds between two searches for transactions on which nobody reports."""
_AFTER_RESPONSE = 0.1
"""Seconds to wait before a report on the same association, so that the peer reads the N-ACTION response first."""


class Commitment:
    """Answers N-ACTION requests, and reports on them.

    Args:
        archive: The archive that has the instances.
        destinations: Addresses by AE title, read at each attempt.
        ae_title: The calling AE title for reports.
        waits: Seconds before each further attempt. The last value is used for all later ones.
        now: Returns the time in seconds of the system's clock, which may be set.
        elapsed: Returns the time in seconds of a clock that cannot be set.
    """

    def __init__(
        self,
        archive: Archive,
        destinations: Mapping[str, aiodimse.Destination | tuple[str, int]],
        ae_title: str,
        waits: tuple[float, ...] = _WAITS,
        *,
        now: Callable[[], float] = time,
        elapsed: Callable[[], float] = since_boot,
    ) -> None:
        self._archive, self._destinations, self._ae_title, self._waits = archive, destinations, ae_title, waits
        self._reading = asyncio.Lock()
        """Held while one request is read, so that those which are half read have a bound together."""
        self._looking = asyncio.Lock()
        """Held while the instances of one transaction are looked up, which takes a turn of the event loop."""
        self._taking_over = asyncio.Lock()
        """Held while the transactions are looked for on which no process reports."""
        self._references: Counter[str] = Counter()
        """Instances of the transactions that this process stores or reports, by the AE titles of the peers."""
        self._calls: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """The associations that may be opened to a peer, by its AE title, while reports wait for one."""
        self._now, self._elapsed, self._clock = now, elapsed, CheckedClock(now, elapsed)
        self._reading_clock = asyncio.Lock()
        """Held while the record of the clock is read and written."""
        self._is_time_to_warn = Seldom()
        self._reports: dict[TransactionName, _Report] = {}
        """The reports of this process."""

    async def accept(self, request: aiodimse.NormalizedRequest) -> int:
        """Handle an N-ACTION request: store the transaction, and begin to report on it.

        A peer that asks again before it was told is told once, on its new association.
        """
        async with self._reading:
            transaction = await _transaction(request, int(self._now()))
        archive = self._archive
        async with AsyncExitStack() as held:
            with archive.availability.asked(0x0213):
                is_stored = transaction.name in await archive.index.transactions()
                held.enter_context(self._counted(transaction, is_stored=is_stored))
                while True:
                    before = self._reports.get(transaction.name)
                    # The lock is taken first: otherwise another process may see the transaction and report on it.
                    is_ours = await held.enter_async_context(archive.locks.try_hold(_lock(transaction.name)))
                    stored = await archive.index.put_transaction(transaction, MAX_OPEN, MAX_OPEN * _SHARE)
                    if stored is None:
                        raise aiodimse.DIMSEFailure(0x0213, "too many transactions are open")
                    report = self._reports.get(transaction.name, before)
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

    @contextmanager
    def _counted(self, transaction: Transaction, *, is_stored: bool) -> Iterator[None]:
        """Count the instances of a transaction, from before it is stored until its report is over.

        Args:
            transaction: The transaction.
            is_stored: Whether it has its room already.

        Raises:
            DIMSEFailure: There is no room for as many instances.
        """
        title, asked = transaction.calling_ae_title, len(transaction.references)
        references, of_peer = self._references.total() + asked, self._references[title] + asked
        if not is_stored and (references > MAX_OPEN_REFERENCES or of_peer > MAX_OPEN_REFERENCES * _SHARE):
            raise aiodimse.DIMSEFailure(0x0213, "too many instances wait for a report")
        self._references[title] += asked
        try:
            yield
        finally:
            self._references[title] -= asked
            self._references += Counter()  # forgets the titles with none

    async def resume(self) -> None:
        """Report on transactions on which nobody reports, until this is cancelled.

        They were stored before a restart; or another process left them when it died; or the request ended before it was
        answered, since its association was aborted, or the index took too long.

        Whoever reports on a transaction holds its lock until the report is accepted, so no two processes report on it.
        """
        while True:
            try:
                await self._take_over()
            except Exception as error:  # database drivers raise errors of their own
                _log.warning("open storage commitments cannot be read: %s", type(error).__name__)
            await asyncio.sleep(_LOOK_AGAIN)

    async def _taken_over(self) -> None:
        async with self._taking_over:
            pass

    async def _take_over(self) -> None:
        """Report on every transaction on which no process reports."""
        async with self._taking_over:
            for name in await self._archive.index.transactions():
                async with AsyncExitStack() as held:
                    if not await held.enter_async_context(self._archive.locks.try_hold(_lock(name))):
                        continue
                    transaction = await self._archive.index.transaction(name)
                    if transaction is not None:  # the process that held the lock before has not dropped it
                        held.enter_context(self._counted(transaction, is_stored=True))
                        reporting = self._report_on(transaction, held.pop_all())
                        self._archive.background(reporting, "aiodimse storage commitment")

    async def _report_on(
        self, transaction: Transaction, held: AsyncExitStack, association: aiodimse.ProviderAssociation | None = None
    ) -> None:
        """Report a transaction until the report is accepted, and release its lock."""
        report = self._reports[transaction.name] = _Report(association)
        try:
            async with held:
                await self._report(transaction, report)
        finally:
            if self._reports.get(transaction.name) is report:  # no other one has begun, now that the lock is free
                del self._reports[transaction.name]
            report.ended.set()

    async def _report(self, transaction: Transaction, asked: _Report) -> None:
        began = self._elapsed()
        for attempt in itertools.count():
            if await self._is_over(transaction, began):
                _log.warning("a storage commitment is given up: %r took no report", transaction.calling_ae_title)
                break
            why = await self._attempt(transaction, asked)
            if not why:
                break
            _log.info("a report of a storage commitment was not taken: %s", why)
            if attempt == _LAST_BEFORE_WARNING and self._is_time_to_warn():
                _log.warning(
                    "%r takes no report of a storage commitment (%s): it is repeated for seven days",
                    transaction.calling_ae_title,
                    why,
                )
            await asked.until_asked_again(asyncio.sleep(self._waits[min(attempt, len(self._waits) - 1)]))
        asked.is_taken = True
        with suppress(aiodimse.DIMSEFailure), self._archive.availability.asked(0x0213):
            # If this fails, the transaction is reported once more after a restart.
            await self._archive.index.drop_transaction(transaction)

    async def _is_over(self, transaction: Transaction, began: float) -> bool:
        """Return whether it is time to give a transaction up, by a clock that may be wrong.

        Args:
            transaction: The transaction.
            began: When this process began to report on it, by the clock that cannot be set.
        """
        if self._elapsed() - began >= KEEP:  # it was requested while the clock was ahead
            return True
        index = self._archive.index
        with suppress(aiodimse.DIMSEFailure), self._archive.availability.asked(0x0213):
            async with self._reading_clock:
                self._clock.read()
                text = await index.clock_record("commitment")
                # Without a record, the clock is not known to have gone further.
                before = ClockRecord(float(transaction.created)) if text is None else ClockRecord.load(text)
                record = self._clock.recorded(before, KEEP / 2)
                if text is None or record.skipped != before.skipped or record.newest >= before.newest + _HOUR:
                    await index.put_clock_record("commitment", record.dump())
            return transaction.created <= record.before(self._clock.now, KEEP)
        return False

    async def _attempt(self, transaction: Transaction, asked: _Report) -> str:
        """Try once to report. Return why the report was not taken; "": it was."""
        title = transaction.calling_ae_title
        calls = self._calls.setdefault(title, asyncio.Semaphore(_CALLS_TO_A_PEER))
        try:
            async with AsyncExitStack() as used:
                if not asked.has_association:
                    if title not in self._destinations:
                        return "no address is known"
                    if await asked.until_asked_again(calls.acquire()):
                        used.callback(calls.release)
                async with self._looking:
                    report = await self._outcome(transaction)
                if (association := asked.take_association()) is not None:
                    await asyncio.sleep(_AFTER_RESPONSE)
                    response = await report.send(association)
                elif (where := self._destinations.get(title)) is None:  # it was there before
                    return "no address is known"
                else:
                    response = await report.send(await used.enter_async_context(self._called(title, where)))
        except (aiodimse.AiodimseError, OSError) as error:
            return type(error).__name__
        is_failure = response.status.category is aiodimse.Category.FAILURE
        return f"status {response.status:04X}" if is_failure else ""

    def _called(
        self, title: str, where: aiodimse.Destination | tuple[str, int]
    ) -> AbstractAsyncContextManager[aiodimse.Association]:
        """Return an association to a peer that is about to be opened."""
        destination = where if isinstance(where, aiodimse.Destination) else aiodimse.Destination(*where)
        return aiodimse.connect(
            destination.host,
            destination.port,
            ae_title=self._ae_title,
            called_ae_title=title,
            contexts=[aiodimse.PresentationContext(commitment.SOP_CLASS, scu=False, scp=True)],
            ssl=destination.ssl,
        )

    async def _outcome(self, transaction: Transaction) -> commitment.CommitmentReport:
        """Return what the report says at this time."""
        archive, uids = self._archive, [uid for _, uid in transaction.references]
        # `Retention` removes no study that is in use, and reads the transactions after it has locked a study.
        with archive.availability.asked(0x0213):
            async with archive.in_use((await archive.index.lookup(uids)).values()):
                entries = await archive.index.lookup(uids)
        kept, studies = await in_thread(_those_there, self._archive.storage, entries)
        # While the transaction is open, `Retention` removes none of them.
        with archive.availability.asked(0x0213):
            await archive.received.again(studies.items())
        references: list[commitment.Reference] = []
        for start in range(0, len(uids), _AT_ONCE):
            some = transaction.references[start : start + _AT_ONCE]
            references += [_reference(*each, kept) for each in some]
            await asyncio.sleep(0)  # others have their turn
        return commitment.CommitmentReport(transaction.uid, tuple(references), self._ae_title)


def _those_there(storage: Storage, entries: Mapping[str, Entry]) -> tuple[dict[str, Entry], dict[str, int]]:
    """Return the entries whose instances are in the storage, and when the newest file of each study was written.

    It is called in a thread.

    Raises:
        OSError: The storage is gone, for example a disk that is no longer mounted. Nothing can be said then.
    """
    kept, studies = dict[str, Entry](), dict[str, int]()
    for uid, entry in entries.items():
        if (stamp := storage.stamp(entry.location)) is not None:
            kept[uid] = entry
            study = entry.study_instance_uid
            studies[study] = max(stamp.modified, studies.get(study, 0))
    if len(kept) < len(entries):
        storage.check()
    return kept, studies


def _reference(sop_class_uid: str, uid: str, kept: Mapping[str, Entry]) -> commitment.Reference:
    entry, reason = kept.get(uid), 0
    if entry is None:
        reason = commitment.NO_SUCH_INSTANCE
    elif entry.sop_class_uid != sop_class_uid:
        reason = commitment.CLASS_CONFLICT
    return commitment.Reference(sop_class_uid, uid, reason)


async def _transaction(request: aiodimse.NormalizedRequest, now: int) -> Transaction:
    """Read an N-ACTION."""
    asked = await commitment.CommitmentRequest.read_in_shares(request)
    references = tuple((each.sop_class_uid, each.sop_instance_uid) for each in asked.references)
    return Transaction(asked.transaction_uid, request.association.calling_ae_title, references, now)


class _Report:
    """A report that a peer waits for.

    Args:
        association: The association on which the peer asked for it; None: it asked before a restart.
    """

    def __init__(self, association: aiodimse.ProviderAssociation | None) -> None:
        self._association = association
        self._is_asked_again = False
        self._waiting: asyncio.Timeout | None = None
        self.is_taken = False
        """Whether it was accepted or given up, and only the transaction is still to be forgotten."""
        self.ended = asyncio.Event()
        """Set when the lock of the transaction is released."""

    @property
    def has_association(self) -> bool:
        """Whether the peer asked on an association that was not tried yet."""
        return self._association is not None

    def take_association(self) -> aiodimse.ProviderAssociation | None:
        """Return the association on which the peer asked last. None: it was tried."""
        association, self._association = self._association, None
        self._is_asked_again = False
        return association

    def ask_again(self, association: aiodimse.ProviderAssociation) -> None:
        """Note that the peer has asked again, on an association on which it can be told."""
        self._association = association
        self._is_asked_again = True
        if self._waiting is not None:
            self._waiting.reschedule(0.0)

    async def until_asked_again(self, work: Awaitable[object]) -> bool:
        """Await something until the peer asks again. Return whether it was done.

        Cancellation: what is awaited is cancelled, too.
        """
        try:
            async with asyncio.timeout(0.0 if self._is_asked_again else None) as self._waiting:
                await work
        except TimeoutError:
            return False
        finally:
            self._waiting = None
        return True


def _lock(name: TransactionName) -> str:
    """Return the name of the lock of a transaction."""
    return f"commitment {name.calling_ae_title} {name.uid}"
