"""An archive over a folder: its files, and an index of what is in them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import aiodimse

from .folder import Scanner, ScanReport, read_header
from .index import Header, Index, MemoryIndex
from .matching import Key
from .models import COMPOSITE_INSTANCE, Level, Query


class Archive:
    """A folder of DICOM files and an index of them; `provide` puts it on a Server.

        archive = await Archive.open("/data/dicom")
        server = aiodimse.Server(ae_title="ARCHIVE")
        provide(server, archive, destinations={"VIEWER": ("192.0.2.7", 11112)})
        async with server.listen("0.0.0.0", 11112) as listening:
            await listening.serve_forever()

    directory: where the files are, and where C-STORE saves. index: what to keep the headers in, a new MemoryIndex by
    default. The folder is not watched: the next `scan` finds the files that others put there, and forgets those that
    they took away.
    """

    def __init__(self, directory: str | os.PathLike[str], *, index: Index | None = None) -> None:
        self.directory = Path(directory)
        self.index: Index = MemoryIndex() if index is None else index
        self.report = ScanReport()
        self._scanning = asyncio.Lock()
        self._arrived: set[str] = set()

    @classmethod
    async def open(
        cls,
        directory: str | os.PathLike[str],
        *,
        index: Index | None = None,
        progress: Callable[[ScanReport], object] | None = None,
    ) -> Archive:
        """An archive whose folder has been read; see `scan`."""
        archive = cls(directory, index=index)
        await archive.scan(progress)
        return archive

    async def scan(self, progress: Callable[[ScanReport], object] | None = None) -> ScanReport:
        """Make the index what the folder is: read the headers of all its files, in a thread, and index them; forget the
        objects whose files have gone, or hold something else now. What a killed process left unfinished is removed: see
        `aiodimse.remove_unfinished`.

        progress: called in the event loop, about ten times a second and at the end, with what was seen so far. Raises
        NotADirectoryError. Cancelled, it stops after the files under way; what was indexed stays.
        """
        if not await asyncio.to_thread(self.directory.is_dir):
            raise NotADirectoryError(f"not a folder: {self.directory}")
        await aiodimse.remove_unfinished(self.directory)
        async with self._scanning:
            self._arrived.clear()
            known = await self._known()
            scanner = Scanner(self.directory)
            # First, so that what they told of their patient, study and series is told by others.
            gone = await self._forget(known, lambda _uid, path: path.is_file())
            while (headers := await asyncio.to_thread(scanner.batch)) is not None:
                for header in headers:
                    if header.unique(Level.IMAGE) not in self._arrived:
                        await self.index.add(header)
                self._tell(scanner.report, progress)
            gone |= await self._forget(known - gone - scanner.seen, _holds)
            scanner.report.forgotten = len(gone - scanner.seen - self._arrived)
            self._tell(scanner.report, progress)
        return self.report

    async def add(self, path: str | os.PathLike[str]) -> Header:
        """Index one file of the folder, reading its header in a thread. Raises as `folder.read_header` does; cancelled,
        the file is not indexed."""
        header = await asyncio.to_thread(read_header, path)
        if self._scanning.locked():  # the scan has read what was there before
            self._arrived.add(header.unique(Level.IMAGE))
        await self.index.add(header)
        return header

    def _tell(self, report: ScanReport, progress: Callable[[ScanReport], object] | None) -> None:
        self.report = replace(report)
        if progress is not None:
            progress(self.report)

    async def _known(self) -> set[str]:
        """The SOP Instance UIDs in the index."""
        everything = Query(COMPOSITE_INSTANCE, Level.IMAGE, (Key("SOPInstanceUID", "UI"),))
        async with aclosing(self.index.find(everything)) as found:
            return {str(uid) async for match in found for uid in match.attributes["SOPInstanceUID"]}

    async def _forget(self, uids: Iterable[str], keep: Callable[[str, Path], bool]) -> set[str]:
        """Forget the objects that are not kept; which. keep: asked in a thread, with an object and its file."""
        forgotten, waiting = set(), iter(uids)
        while some := list(islice(waiting, 256)):
            files = [(uid, path) for uid in some for path in await self.index.paths(_one(uid))]
            for uid in await asyncio.to_thread(_not_kept, files, keep):
                if uid not in self._arrived:
                    await self.index.remove(uid)
                    forgotten.add(uid)
        return forgotten


def _not_kept(files: list[tuple[str, Path]], keep: Callable[[str, Path], bool]) -> list[str]:
    return [uid for uid, path in files if not keep(uid, path)]


def _one(uid: str) -> Query:
    return Query(COMPOSITE_INSTANCE, Level.IMAGE, unique={Level.IMAGE: (uid,)})


def _holds(uid: str, path: Path) -> bool:
    try:
        return read_header(path).unique(Level.IMAGE) == uid
    except Exception:  # as for the scan: whatever is wrong with the file, it cannot be retrieved
        return False
