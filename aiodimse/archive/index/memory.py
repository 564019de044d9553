"""An index in memory. It is the reference that every other index is compared with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator
from contextlib import aclosing
from math import inf
from typing import TypeVar

from ..matching import matcher
from ..models import STUDY_ROOT, Level
from ..queries import Query
from .ages import oldest, study_ages
from .entities import Entities
from .file_records import FileRecords
from .interface import FREELY, ClockUser, Turn
from .keys import distinct_batches
from .records import Counts, Entry, File, Finding, Header, Match, OutdatedStudy, StudyAge, Transaction, TransactionName
from .slices import work
from .views import keywords_of

T = TypeVar("T")

_AT_ONCE = 0.005
"""The time in seconds that searches may take before the event loop has its turn."""


class MemoryIndex:
    """An index in memory: `Entities` are its objects, `FileRecords` the files that they and others are in.

    100,000 objects take about 250 MB. Use it from one event loop.
    """

    def __init__(self) -> None:
        self._entities = Entities()
        self._files = FileRecords()
        self._transactions: dict[TransactionName, Transaction] = {}
        self._received: dict[str, int] = {}
        self._clock_records: dict[ClockUser, str] = {}
        self._is_complete = False
        self._slices = asyncio.Lock()
        """Held during one slice of a search, so that many searches together take no longer than one of each turn."""

    async def add(self, headers: Iterable[Header]) -> None:
        """See `Index.add`.

        Args:
            headers: What was read from the objects.
        """
        for batch in distinct_batches(headers):
            for header in batch:
                self._replace(header)
            for header in batch:
                self._add(header)
            self._entities.end_change()

    def add_now(self, header: Header) -> None:
        """Add one object without waiting.

        Args:
            header: What was read from the object.
        """
        self._replace(header)
        self._add(header)
        self._entities.end_change()

    def _replace(self, header: Header) -> None:
        """Remove what has the UID or the location of an object."""
        self._remove_object(header.unique(Level.IMAGE))
        self._forget(header.location)

    def _add(self, header: Header) -> None:
        self._entities.add(header)
        uid = header.unique(Level.IMAGE)
        self._files.put(File(header.location, header.size, header.modified, Finding.OBJECT, uid))

    def _forget(self, location: str) -> bool:
        """Forget a file and its object. Return whether it had one."""
        file = self._files.pop(location)
        return file is not None and file.finding == Finding.OBJECT and self._remove_object(file.sop_instance_uid)

    def _remove_object(self, sop_instance_uid: str) -> bool:
        """Remove an object and its file. Return whether there was one."""
        entry = self._entities.remove(sop_instance_uid)
        if entry is not None:
            self._files.pop(entry.location)
        return entry is not None

    async def note(self, files: Iterable[File]) -> None:
        """See `Index.note`.

        Args:
            files: The files.
        """
        for file in files:
            self._forget(file.location)
            self._files.put(file)
        self._entities.end_change()

    async def remove(self, locations: Iterable[str]) -> int:
        """See `Index.remove`.

        Args:
            locations: Where the storage had the files.
        """
        removed = sum(self._forget(location) for location in locations)
        self._entities.end_change()
        return removed

    async def find(self, query: Query, turn: Turn = FREELY) -> AsyncGenerator[Match, None]:
        """See `Index.find`.

        Args:
            query: What is asked for.
            turn: Entered for each slice of the work.
        """
        matches = matcher(query.tests, query.rules)
        keywords = keywords_of(query)
        found = (view if matches(view) else None for view in self._entities.views(query))
        async with aclosing(self._stepped(found, turn)) as views:
            async for view in views:
                yield view.match(keywords)

    async def entries(self, query: Query, turn: Turn = FREELY) -> AsyncGenerator[Entry, None]:
        """See `Index.entries`.

        Args:
            query: What is to be retrieved.
            turn: Entered for each slice of the work.
        """
        async with aclosing(self._stepped(self._entities.entries(query), turn)) as entries:
            async for entry in entries:
                yield entry

    async def lookup(self, sop_instance_uids: Collection[str]) -> dict[str, Entry]:
        """See `Index.lookup`.

        Args:
            sop_instance_uids: The SOP Instance UIDs that are looked for.
        """
        return {uid: entry for uid in sop_instance_uids if (entry := self._entities.lookup(uid)) is not None}

    async def files(self, folder: str) -> dict[str, File]:
        """See `Index.files`.

        Args:
            folder: The folder, as `folder_of` gives it.
        """
        return self._files.of_folder(folder)

    async def folders(self) -> list[str]:
        """See `Index.folders`."""
        return self._files.folders()

    async def duplicates(self, sop_instance_uids: Collection[str]) -> list[File]:
        """See `Index.duplicates`.

        Args:
            sop_instance_uids: The SOP Instance UIDs of the objects.
        """
        return self._files.duplicates(sop_instance_uids)

    async def counts(self) -> Counts:
        """See `Index.counts`."""
        return self._entities.counts()

    async def oldest_studies(self, limit: int, after: StudyAge | None = None) -> list[StudyAge]:
        """See `Index.oldest_studies`.

        Args:
            limit: How many studies at most.
            after: The last one that was returned before; None: begin with the oldest one.
        """
        return oldest(self._ages(), limit, after)

    async def study_age(self, study_instance_uid: str) -> StudyAge | None:
        """See `Index.study_age`.

        Args:
            study_instance_uid: The UID of the study.
        """
        of_study = Query(STUDY_ROOT, Level.STUDY, unique={Level.STUDY: (study_instance_uid,)})
        entries = (entry for entry in self._entities.entries(of_study) if entry is not None)
        files = [file for entry in entries if (file := self._files.get(entry.location)) is not None]
        ages = study_ages(lambda _: study_instance_uid, files, self._received)
        return ages[0] if ages else None

    async def last_received(self, study_instance_uid: str, locations: Collection[str]) -> int:
        """See `Index.last_received`.

        Args:
            study_instance_uid: The UID of the study.
            locations: The locations of the files.
        """
        files = [file for location in locations if (file := self._files.get(location)) is not None]
        return max(self._received.get(study_instance_uid, 0), max((file.modified for file in files), default=0))

    async def set_received(self, study_instance_uids: Collection[str], at: int) -> None:
        """See `Index.set_received`.

        Args:
            study_instance_uids: The UIDs of the studies.
            at: When they were received, in nanoseconds.
        """
        for uid in study_instance_uids:
            self._received[uid] = max(at, self._received.get(uid, at))

    async def forget_received(self) -> None:
        """See `Index.forget_received`."""
        there = {each.study_instance_uid for each in self._ages()}
        self._received = {uid: at for uid, at in self._received.items() if uid in there}

    async def stored_bytes(self) -> int:
        """See `Index.stored_bytes`."""
        return sum(each.size for each in self._ages())

    async def newest_modified(self) -> int:
        """See `Index.newest_modified`."""
        return max((file.modified for file in self._files if file.finding == Finding.OBJECT), default=0)

    async def clock_record(self, user: ClockUser) -> str | None:
        """See `Index.clock_record`.

        Args:
            user: Whose record it is.
        """
        return self._clock_records.get(user)

    async def put_clock_record(self, user: ClockUser, text: str) -> None:
        """See `Index.put_clock_record`.

        Args:
            user: Who has seen it.
            text: The text.
        """
        self._clock_records[user] = text

    def _ages(self) -> list[StudyAge]:
        return study_ages(self._entities.study_of, self._files, self._received)

    async def outdated_studies(self) -> list[OutdatedStudy]:
        """See `Index.outdated_studies`."""
        return self._entities.outdated()

    async def set_current(self, study: OutdatedStudy) -> None:
        """See `Index.set_current`.

        Args:
            study: The study.
        """
        self._entities.set_current(study)

    async def put_transaction(
        self, transaction: Transaction, most: float = inf, most_of_peer: float = inf
    ) -> Transaction | None:
        """See `Index.put_transaction`.

        Args:
            transaction: The transaction.
            most: How many there may be.
            most_of_peer: How many of one peer.
        """
        stored = self._transactions
        titles = [name.calling_ae_title for name in stored]
        if transaction.name not in stored and not transaction.has_room(titles, most, most_of_peer):
            return None
        return stored.setdefault(transaction.name, transaction)

    async def transactions(self) -> list[TransactionName]:
        """See `Index.transactions`."""
        return [each.name for each in sorted(self._transactions.values(), key=lambda each: each.created)]

    async def transaction(self, name: TransactionName) -> Transaction | None:
        """See `Index.transaction`.

        Args:
            name: Its name.
        """
        return self._transactions.get(name)

    async def drop_transaction(self, transaction: Transaction) -> None:
        """See `Index.drop_transaction`.

        Args:
            transaction: The transaction.
        """
        self._transactions.pop(transaction.name, None)

    async def is_complete(self) -> bool:
        """See `Index.is_complete`."""
        return self._is_complete

    async def set_complete(self) -> None:
        """See `Index.set_complete`."""
        self._is_complete = True

    def blocking(self) -> None:
        """See `Index.blocking`: it belongs to the event loop."""

    def process_locks(self) -> None:
        """See `Index.process_locks`."""

    def is_damaged_by(self, error: Exception) -> bool:
        """See `Index.is_damaged_by`.

        Args:
            error: What a method of this index raised.
        """
        return False

    def mark_damaged(self) -> None:
        """See `Index.mark_damaged`: each opening makes a new one."""

    async def close(self, timeout: float = 5.0) -> None:
        """See `Index.close`. There is nothing to release.

        Args:
            timeout: Has no effect.
        """

    async def _stepped(self, found: Iterator[T | None], turn: Turn) -> AsyncGenerator[T, None]:
        """Advance an iterator in slices of time, and yield what it finds."""
        while True:
            async with turn, self._slices:
                some, is_over = work(found, _AT_ONCE)
                if not is_over:
                    await asyncio.sleep(0)  # other tasks of the event loop run before the next search
            for each in some:
                yield each
            if is_over:
                return
