"""Find the studies of each accession number, and move the images to us that are not in the folder yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import UID

import aiodimse
from aiodimse import sop_class

from .config import Config
from .manifest import Manifest, Row

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
UIDS_IN_A_MOVE = 200

Series = dict[str, set[str]]
"""SOP Instance UIDs by Series Instance UID."""


class Pace:
    """Delays callers so that they pass at regular intervals."""

    def __init__(self, per_minute: float) -> None:
        self._interval = 60 / per_minute if per_minute else 0.0
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for this caller's turn."""
        now = asyncio.get_running_loop().time()
        mine = max(self._next, now)
        self._next = mine + self._interval
        await asyncio.sleep(mine - now)


class Pull:
    """One run over a list of accession numbers.

    Args:
        config: The archive, the folder, and the limits.
        pool: Associations to the archive.
        receiver: Our server, to which the archive sends.
        manifest: The outcome of each study.
        saved: Called after each image that was saved.
    """

    def __init__(
        self,
        config: Config,
        pool: aiodimse.Pool,
        receiver: aiodimse.Server,
        manifest: Manifest,
        saved: Callable[[], None],
    ) -> None:
        self._config, self._pool, self._receiver = config, pool, receiver
        self._manifest, self._saved = manifest, saved
        self._pace = Pace(config.moves_per_minute)

    async def run(self, accession_numbers: Iterable[str], done: Callable[[], None]) -> None:
        """Pull them, `moves` at a time, and call done after each. OSError, such as a full disk, stops the run."""
        left = iter(accession_numbers)

        async def work() -> None:
            for number in left:
                await self._accession_number(number)
                done()

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._config.moves):
                    group.create_task(work())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _accession_number(self, number: str) -> None:
        if set(number) & set("*?\\"):  # it would match the studies of others
            self._manifest.add(Row(number, "", "failed", reason="a wild card is no accession number"))
            return
        wanted = aiodimse.identifier("STUDY", AccessionNumber=number, StudyInstanceUID="")
        studies, reason = None, ""
        async for _ in self._attempts():
            try:
                studies = await self._find(wanted, "StudyInstanceUID")
                break
            except aiodimse.AiodimseError as error:
                reason = str(error)
        if not studies:
            self._manifest.add(Row(number, "", "failed" if studies is None else "not found", reason=reason))
            return
        for study in sorted(studies):
            if not self._manifest.is_complete(number, study):
                self._manifest.add(await self._study(number, study))

    async def _study(self, number: str, study: str) -> Row:
        """Fetch a study until nothing is missing, or until all attempts are used."""
        folder = Path(self._config.folder, study)
        await asyncio.to_thread(folder.mkdir, exist_ok=True)
        await aiodimse.remove_unfinished(folder)
        expected: Series = {}
        reason = ""
        async for _ in self._attempts():
            try:
                expected = await self._instances(study)
                missing = await _missing(folder, expected)
                for wanted in _moves(study, expected, missing):
                    reason = await self._move(wanted, folder) or reason
                if expected and not await _missing(folder, expected):
                    break
            except aiodimse.AiodimseError as error:
                reason = str(error)
        left = set().union(*(await _missing(folder, expected)).values())
        total = sum(map(len, expected.values()))
        if total and not left:
            return Row(number, study, "complete", total, total)
        state = "incomplete" if total else "failed"
        return Row(number, study, state, total, total - len(left), " ".join(sorted(left)), reason)

    async def _attempts(self) -> AsyncIterator[int]:
        for attempt in range(self._config.attempts):
            if attempt:
                await asyncio.sleep(min(self._config.pause * 2 ** (attempt - 1), 60.0))
            yield attempt

    async def _find(self, wanted: Dataset, keyword: str) -> set[str]:
        """Return the UIDs that match. They become names of folders, so values that are not UIDs are left out."""
        matches = await self._pool.c_find(wanted, FIND).collect()
        return {uid for match in matches if UID(uid := str(match.get(keyword, ""))).is_valid}

    async def _instances(self, study: str) -> Series:
        series = aiodimse.identifier("SERIES", StudyInstanceUID=study, SeriesInstanceUID="")
        found: Series = {}
        for uid in await self._find(series, "SeriesInstanceUID"):
            image = aiodimse.identifier("IMAGE", StudyInstanceUID=study, SeriesInstanceUID=uid, SOPInstanceUID="")
            found[uid] = await self._find(image, "SOPInstanceUID")
        return found

    async def _move(self, wanted: Dataset, folder: Path) -> str:
        """Send one C-MOVE to ourselves. Return what was wrong with single images."""
        await self._pace.turn()
        reason = ""
        async with self._pool.c_move(
            wanted, MOVE, destination=self._config.ae_title, receiver=self._receiver, allow_incomplete=True
        ) as move:
            async for instance in move:
                try:
                    await instance.save(folder)
                    self._saved()
                except (aiodimse.InstanceConflict, aiodimse.DatasetDecodeError) as error:
                    reason = str(error)
        if move.missing:
            return f"the archive has sent {move.missing} images elsewhere"
        failed = move.progress.failed if move.progress is not None else 0
        return reason or (f"{move.status}" if failed else "")


async def _missing(folder: Path, expected: Series) -> Series:
    """Return what is not in the folder. A file gets its name when it is complete, so the names are enough."""
    there = await asyncio.to_thread(lambda: {path.stem for path in folder.glob("*.dcm")})
    return {series: left for series, uids in expected.items() if (left := uids - there)}


def _moves(study: str, expected: Series, missing: Series) -> Iterator[Dataset]:
    """Make one move of the whole study or, if a part of it is here, moves of the images that are not."""
    if missing == expected:
        yield aiodimse.identifier("STUDY", StudyInstanceUID=study)
        return
    for series, left in missing.items():
        uids = sorted(left)
        for first in range(0, len(uids), UIDS_IN_A_MOVE):
            some = uids[first : first + UIDS_IN_A_MOVE]
            yield aiodimse.identifier("IMAGE", StudyInstanceUID=study, SeriesInstanceUID=series, SOPInstanceUID=some)
