"""The archives that serve has open: that of its location, and those that called titles have for themselves."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import aiodimse
from aiodimse.aio.files import read_off_loop
from aiodimse.archive import Archive, Retention, ScanReport
from aiodimse.cli.failures import FAILED, USAGE, CommandError, system_words
from aiodimse.cli.folders import ServedFolders
from aiodimse.cli.output import Output
from aiodimse.cli.sharing import Worker

_SCAN_AGAIN = 30.0
"""Seconds before a scan that the storage or the index did not answer is repeated."""


class Archives:
    """Opens and closes archives, and keeps each within the room that the options allow.

    Args:
        options: The options of serve.
        output: Where scans are reported.
    """

    def __init__(self, options: Namespace, output: Output) -> None:
        self._options, self._output = options, output
        self._open: dict[Path | str, Archive] = {}
        self._retentions: dict[Path | str, Retention] = {}
        self._titles: dict[str, Path | None] = {}
        self._to_scan: list[Path | str] = []
        self._folders = ServedFolders(by_workers=False)

    async def open(self) -> Archive:
        """Open the archive of the location.

        Raises:
            CommandError: It cannot be opened.
        """
        options = self._options
        return await self._opened(options.directory, options.index, is_first=True)

    async def take(self, options: Namespace) -> dict[str, Archive]:
        """Open the archives of called titles, and apply the room that these options allow to all archives.

        Returns:
            The archives by called title, including those of titles that are no longer called: an open association may
            still use one.

        Raises:
            CommandError: An archive cannot be opened. Nothing has changed then.
        """
        titles: dict[str, Path | None] = {options.ae_title: None, **dict(options.called)}
        for title, folder in titles.items():
            if self._titles.get(title, folder) != folder:
                raise CommandError(f"another folder for {title}, which is called already, needs a restart", USAGE)
        before = set(self._open)
        try:
            for folder in titles.values():
                if folder is not None:
                    await self._opened(folder, "memory:" if options.index == "memory:" else None)
        except BaseException:
            await self._give_up(set(self._open) - before)
            raise
        self._titles |= titles
        for location, archive in self._open.items():
            archive.min_free = options.min_free
            retention = self._retentions[location]
            retention.keep_days, retention.max_bytes = options.keep_days, options.max_bytes
        return {title: self._open[folder] for title, folder in self._titles.items() if folder is not None}

    def scan(self) -> None:
        """Begin to scan the archives that were not scanned yet. They are served meanwhile."""
        for location in self._to_scan:
            self._open[location].background(self._scan(location), "aiodimse serve scan")
        self._to_scan.clear()

    async def close(self) -> None:
        """Close all archives, even if closing one of them fails."""
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self._folders.close)
            for archive in dict.fromkeys(self._open.values()):  # one may have several names
                closing.push_async_callback(archive.close)

    async def _give_up(self, locations: Iterable[Path | str]) -> None:
        """Close archives of a configuration that is not taken, so that none of their studies is removed for its age."""
        for location in locations:
            archive = self._open.pop(location)
            del self._retentions[location]
            if location in self._to_scan:
                self._to_scan.remove(location)
            if archive not in self._open.values():
                await archive.close()
            if isinstance(location, Path):
                await self._folders.release(location)

    async def _opened(self, location: Path | str, index: str | None, *, is_first: bool = False) -> Archive:
        if location in self._open:
            return self._open[location]
        if isinstance(location, Path) and not await read_off_loop(location.is_dir):
            raise CommandError(f"not a folder: {location}", USAGE)
        if isinstance(location, Path) and (same := await read_off_loop(self._same_folder, location)) is not None:
            self._open[location], self._retentions[location] = self._open[same], self._retentions[same]
            return self._open[location]
        worker: Worker | None = self._options.worker
        if worker is None and isinstance(location, Path) and not (index or "").startswith("postgresql"):
            await self._folders.take(location)
        try:
            archive = await Archive.open(
                location,
                index=index,
                duplicates=self._options.duplicates,
                shared=worker is not None,
                scan=False,
            )
        except OSError as error:  # a disk, a database or a bucket is not there, and may be there later
            raise CommandError(_with_location(location, error), FAILED) from None
        except (ValueError, ModuleNotFoundError) as error:
            raise CommandError(str(error), USAGE) from None
        self._open[location] = archive
        self._retentions[location] = Retention(archive)
        if is_first and not await archive.index.is_complete():
            await self._read_all(archive, location)
        elif worker is None or worker.place == 0:  # a single worker scans for all
            self._to_scan.append(location)
        archive.background(self._retentions[location].run(), "aiodimse serve retention")
        return archive

    def _same_folder(self, folder: Path) -> Path | None:
        """Return the name by which a folder is open already. Two archives would each have locks of their own."""
        return next((each for each in self._open if isinstance(each, Path) and _is_same(each, folder)), None)

    async def _read_all(self, archive: Archive, location: Path | str) -> None:
        """Read all files before the first association, with a progress bar. Later scans run beside the service."""
        try:
            with self._output.progress("files read") as advance:

                def seen(report: ScanReport) -> None:
                    advance(report.files, None)

                await archive.scan(seen)
        except OSError as error:
            raise CommandError(_with_location(location, error), FAILED) from None
        self._report(location)

    def _report(self, location: Path | str) -> None:
        """Print what the last scan found. A worker tells it its parent, which prints it."""
        found = f"{location}: {self._open[location].report}"
        self._output.line(found)
        if self._options.worker is not None:
            self._output.event({"event": "scan", "found": found})

    async def _scan(self, location: Path | str) -> None:
        archive = self._open[location]
        said = ""
        while True:
            try:
                with archive.availability.asked(0xA700, OSError):
                    await archive.scan()
                self._report(location)
                return
            except OSError as error:
                words = system_words(error)
                if words != said:
                    self._output.note(f"{location} cannot be read: {words}")
                said = words
            except aiodimse.DIMSEFailure:  # the index does not answer, which the log says
                pass
            await asyncio.sleep(_SCAN_AGAIN)


def _with_location(location: Path | str, error: OSError) -> str:
    """Describe an error. One that names no file is of a whole archive, of which there may be several."""
    return system_words(error) if error.filename else f"{location}: {system_words(error)}"


def _is_same(folder: Path, other: Path) -> bool:
    try:
        return folder.samefile(other)
    except OSError:  # the disk of one of them is gone
        return False
