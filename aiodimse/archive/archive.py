"""An archive: a storage of objects, and an index of them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from pydicom import Dataset

import aiodimse

from .availability import Availability
from .header import read_header
from .index import Entry, Header, Index, MemoryIndex
from .index.opening import open_index
from .ingest import Duplicates, Ingest
from .locks import FileLocks, Locks, ProcessLocks
from .models import Level
from .presence import require_objects
from .received import Received
from .scan import Scan, ScanReport
from .searches import Searches
from .storage import FolderStorage, Storage, storage_at
from .threads import in_thread

_log = logging.getLogger(__name__)

LOCKS = ".aiodimse-lock"
"""The file for locks in the folder of an archive that several processes share."""


def in_use_lock(study_instance_uid: str) -> str:
    """Return the name of the lock that is shared while objects of a study are sent."""
    return f"in use {study_instance_uid}"


class Archive:
    """A folder of DICOM files and an index of them. `provide` puts it on a Server.

    The folder is not watched. The next `scan` finds the files that others added, and forgets those that they removed.

    Args:
        location: Where the files are, and where C-STORE saves: a folder, s3://BUCKET/PREFIX, or a storage of your own.
        index: Where the headers are kept; by default a new MemoryIndex.
        duplicates: Which data set is kept of an instance that is stored again: with "keep" the first one, with
            "replace" the last one whose header can be read. Another instance with a known SOP Instance UID is refused.
        follow_links: Whether to follow links that lead out of the folder.
        shared: Whether other processes of this machine store into the folder, too. With an index in PostgreSQL,
            processes on any machine share its locks, and this is not needed.

    It is closed by `close`, or at the end of an `async with`.

    Example:
        ```python
        async with await Archive.open("/data/dicom") as archive:
            server = aiodimse.Server(ae_title="ARCHIVE")
            provide(server, archive, destinations={"VIEWER": ("192.0.2.7", 11112)})
            async with server.listen("0.0.0.0", 11112) as listening:
                await listening.serve_forever()
        ```
    """

    def __init__(
        self,
        location: str | os.PathLike[str] | Storage,
        *,
        index: Index | None = None,
        duplicates: Duplicates = "keep",
        follow_links: bool = False,
        shared: bool = False,
    ) -> None:
        self.storage: Storage = storage_at(location, follow_links=follow_links)
        directory = self.storage.directory if isinstance(self.storage, FolderStorage) else None
        self.directory: Path | None = directory
        """The folder; None if the storage is not a folder."""
        self.index: Index = MemoryIndex() if index is None else index
        between: ProcessLocks | None = self.index.process_locks()
        if shared and between is None:
            if directory is None:
                raise ValueError("processes share a bucket by an index in PostgreSQL")
            between = FileLocks(directory / LOCKS)
        self.locks: Locks = Locks(between)
        """The locks. That of a SOP Instance UID is held while its object is saved, read and indexed."""
        self.availability: Availability = Availability(index=self.index)
        """Whether the index answers."""
        self.received: Received = Received(self.index)
        """Notes that studies were received again."""
        self._ingest = Ingest(self.storage, self.index, self.locks, self.availability, self.received, duplicates)
        self.report: ScanReport = ScanReport()
        """What the last scan found."""
        self.rebuilt: str | None = None
        """Why the index was created anew; None if it was not."""
        self.searches: Searches = Searches()
        """The turns that searches take."""
        self.extracting: asyncio.Lock = asyncio.Lock()
        """Held while an instance is in memory to take frames out of it. One of a gibibyte takes three of them."""
        self._scanning = asyncio.Lock()
        self._background: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(
        cls,
        location: str | os.PathLike[str] | Storage,
        *,
        index: Index | str | None = None,
        duplicates: Duplicates = "keep",
        follow_links: bool = False,
        shared: bool = False,
        scan: bool = True,
        make_index: bool = True,
        progress: Callable[[ScanReport], object] | None = None,
    ) -> Archive:
        """Open an archive, and scan it.

        The first scan reads all files, later ones only those that are new or changed; see `scan`. An SQLite index that
        is damaged or of another version is renamed, and a new one is created: `rebuilt` says why.

        Args:
            location: Where the files are: a folder, or s3://BUCKET/PREFIX (extra `s3`).
            index: Where the headers are kept: by default an SQLite database in the folder; "memory:", the URL of a
                database (sqlite:///FILE, postgresql://USER@HOST/DATABASE), or an index of your own. A bucket needs one.
            duplicates: Which data set is kept of an instance that is stored again.
            follow_links: Whether to follow links that lead out of the folder.
            shared: Whether other processes of this machine store into the folder, too. The index has to be in SQL.
                With an index in PostgreSQL, the processes may be on any machine, and this is not needed.
            scan: Whether to scan the storage. If not, call `scan` yourself.
            make_index: Make the index where there is none, migrate that of an older version, and put aside one that
                cannot be used. Without it, such an index raises OSError, and nothing is changed.
            progress: Called while files are read.

        Returns:
            The archive. `close` it when it is no longer needed.

        Raises:
            NotADirectoryError: There is no such folder.
            OSError: The folder may not be read, or the database cannot be opened; or the folder is empty, and an index
                elsewhere has objects of it, as when a disk is not mounted.
            ValueError: There is no such kind of index.
            ModuleNotFoundError: SQLAlchemy, of the extras `cli` and `archive`, is not installed.

        Cancellation: as for `scan`.
        """
        storage = storage_at(location, follow_links=follow_links)
        await storage.open()
        opened, rebuilt, is_elsewhere = None, None, index is not None
        if index is None or isinstance(index, str):
            directory = storage.directory if isinstance(storage, FolderStorage) else None
            opened, rebuilt = await open_index(index, directory, make=make_index, shared=shared)
            index = opened
        try:
            archive = cls(storage, index=index, duplicates=duplicates, follow_links=follow_links, shared=shared)
        except BaseException:
            if opened is not None:
                await opened.close()
            raise
        archive.rebuilt = rebuilt
        try:
            if make_index and is_elsewhere:
                await require_objects(storage, index)
            if scan:
                await archive.scan(progress)
        except BaseException:
            await archive.close()
            raise
        return archive

    async def scan(self, progress: Callable[[ScanReport], object] | None = None) -> ScanReport:
        """Bring the index into agreement with the folder.

        The headers of files that are new or changed are read in a thread. Objects are forgotten if their files are gone
        or now contain something else. What a killed process left unfinished is removed: see
        `aiodimse.remove_unfinished`.

        Args:
            progress: Called in the event loop, about ten times a second and at the end, with what was seen so far.

        Returns:
            What was found, which is also in `report`.

        Raises:
            NotADirectoryError: The folder does not exist.
            OSError: The storage has gone away during the scan, or does not answer. No object is forgotten then.

        Cancellation: the scan stops after the files that are being read. What was indexed stays in the index.
        """

        def tell(report: ScanReport) -> None:
            self.report = report
            if progress is not None:
                progress(report)

        async with self._scanning:
            await self.storage.open()
            return replace(await Scan(self.storage, self.index, self.locks, tell).run())

    async def add(self, path: str | os.PathLike[str]) -> Header:
        """Index one file. Its header is read in a thread.

        Args:
            path: The file, in the folder of the archive or elsewhere.

        Returns:
            What the index keeps of the file.

        Raises:
            Exception: What `read_header` raises.

        Cancellation: the file is not indexed.
        """
        if isinstance(self.storage, FolderStorage):
            header = await in_thread(read_header, path, self.storage.location(path))
        else:
            header = await in_thread(self.storage.read, str(path))
        async with self.locks.hold([header.unique(Level.IMAGE)]):
            await self.index.add([header])
        return header

    async def store(self, request: aiodimse.StoreRequest, *, durable: bool = True) -> int | Dataset:
        """Save and index the instance of a C-STORE request.

        Args:
            request: The request.
            durable: Whether the instance is flushed to the disk before this returns.

        Returns:
            What the handler of the request returns: a status, or a response.
        """
        return await self._ingest.store(request, durable=durable)

    @property
    def min_free(self) -> int:
        """Bytes of the disk that have to stay free; below that, each C-STORE is answered with A700. By default 0."""
        return self._ingest.room.least

    @min_free.setter
    def min_free(self, least: int) -> None:
        self._ingest.room.least = least

    @asynccontextmanager
    async def in_use(self, entries: Iterable[Entry]) -> AsyncIterator[None]:
        """Keep `Retention` from removing the studies of these objects while the body runs.

        Args:
            entries: The objects.

        Cancellation: the objects are no longer in use.
        """
        async with self.locks.share({in_use_lock(entry.study_instance_uid) for entry in entries}):
            yield

    def background(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run a coroutine until it ends or the archive is closed. If it fails, the log says how.

        Args:
            work: The coroutine.
            name: The name of its task.
        """
        if self.availability.is_closing:  # what a request asks for that comes while the archive closes
            work.close()
            return
        task = asyncio.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # asyncio would log the traceback, and the text of a driver quotes statements with their values.
            _log.error("%s failed: %s", task.get_name(), type(error).__name__)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, timeout: float = 5.0) -> None:
        """Stop what runs in the background, and release what the index uses of the system.

        Args:
            timeout: The time in seconds for each of the tasks in the background, the locks and the index to end. What
                still waits for a disk or a database then is left behind, with a warning in the log.

        Cancellation: the rest is not released.
        """
        self.availability.is_closing = True
        tasks = list(self._background)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)
        await self.locks.close(timeout)
        await self.index.close(timeout)
