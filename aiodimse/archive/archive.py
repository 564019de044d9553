"""An archive over a folder: its files, and an index of what is in them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import aiodimse

from .folder import Scanner, ScanReport, read_header
from .index import Header, Index, MemoryIndex


class Archive:
    """A folder of DICOM files and an index of them; `provide` puts it on a Server.

        archive = await Archive.open("/data/dicom")
        server = aiodimse.Server(ae_title="ARCHIVE")
        provide(server, archive, destinations={"VIEWER": ("192.0.2.7", 11112)})
        async with server.listen("0.0.0.0", 11112) as listening:
            await listening.serve_forever()

    directory: where the files are, and where C-STORE saves. index: what to keep the headers in, a new MemoryIndex by
    default. The folder is not watched: files that others put there are found by the next `scan`.
    """

    def __init__(self, directory: str | os.PathLike[str], *, index: Index | None = None) -> None:
        self.directory = Path(directory)
        self.index: Index = MemoryIndex() if index is None else index
        self.report = ScanReport()

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
        """Read the headers of all files in the folder, in a thread, and index them. What a killed process left
        unfinished is removed: see `aiodimse.remove_unfinished`.

        progress: called in the event loop, about ten times a second and at the end, with what was seen so far. Raises
        NotADirectoryError. Cancelled, it stops after the files under way; what was indexed stays.
        """
        if not await asyncio.to_thread(self.directory.is_dir):
            raise NotADirectoryError(f"not a folder: {self.directory}")
        await aiodimse.remove_unfinished(self.directory)
        scanner = Scanner(self.directory)
        while (headers := await asyncio.to_thread(scanner.batch)) is not None:
            for header in headers:
                await self.index.add(header)
            self.report = replace(scanner.report)
            if progress is not None:
                progress(self.report)
        self.report = replace(scanner.report)
        if progress is not None:
            progress(self.report)
        return self.report

    async def add(self, path: str | os.PathLike[str]) -> Header:
        """Index one file of the folder, reading its header in a thread. Raises as `folder.read_header` does; cancelled,
        the file is not indexed."""
        header = await asyncio.to_thread(read_header, path)
        await self.index.add(header)
        return header
