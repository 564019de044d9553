"""The images that were acknowledged but are not reported yet: files, and rows in a database beside them."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import aiodimse

T = TypeVar("T")


class Spool:
    """A folder of images by series. One thread uses its database; each change is on disk when its method returns.

    Args:
        folder: The folder; it is created if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._thread = ThreadPoolExecutor(1, "spool")
        self._database: sqlite3.Connection

    async def open(self) -> set[str]:
        """Open the database. Return the series that are not reported yet."""

        def do() -> set[str]:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.folder / "spool.db")
            columns = "path PRIMARY KEY, series, arrived, reported"
            try:
                self._database.execute(f"CREATE TABLE IF NOT EXISTS images ({columns})")
            except sqlite3.DatabaseError as error:  # it was damaged
                raise OSError(f"{self.folder / 'spool.db'}: {error}") from error
            return {row[0] for row in self._database.execute("SELECT series FROM images WHERE NOT reported")}

        series = await self._run(do)
        await aiodimse.remove_unfinished(self.folder)
        return series

    async def add(self, path: Path) -> str:
        """Record an image that was saved. Return its series."""

        def do() -> str:
            identity = aiodimse.file_identity(path)
            if identity is None or not identity.series_instance_uid:
                path.unlink()
                raise aiodimse.DIMSEFailure(0xC000, "no Series Instance UID")
            row = (str(path), identity.series_instance_uid, time.time())
            with self._database:
                self._database.execute("INSERT OR IGNORE INTO images VALUES (?, ?, ?, 0)", row)
            return identity.series_instance_uid

        return await self._run(do)

    async def paths(self, series: str) -> list[str]:
        """Return all images of a series; none if all of them are reported."""

        def do() -> list[str]:
            rows = self._database.execute("SELECT path, reported FROM images WHERE series = ?", (series,)).fetchall()
            return [path for path, _ in rows] if not all(reported for _, reported in rows) else []

        return await self._run(do)

    async def reported(self, paths: Sequence[str], keep_hours: float) -> None:
        """Record that these images are reported, and remove those that are older than keep_hours."""

        def do() -> None:
            with self._database:
                self._database.executemany("UPDATE images SET reported = 1 WHERE path = ?", [(path,) for path in paths])
            old = (time.time() - keep_hours * 3600,)
            gone = self._database.execute("SELECT path FROM images WHERE reported AND arrived < ?", old).fetchall()
            for (path,) in gone:
                Path(path).unlink(missing_ok=True)
            with self._database:
                self._database.executemany("DELETE FROM images WHERE path = ?", gone)

        await self._run(do)

    async def close(self) -> None:
        """Close the database."""
        await self._run(lambda: self._database.close())
        self._thread.shutdown()

    async def _run(self, do: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, do)
