"""Our side of the interop tests: a provider over a list of files through the public API, and `serve` as a process."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from interop.programs import Provider
from ports import free_port
from pydicom import Dataset, dcmread

import aiodimse

HOST = "127.0.0.1"
TITLE = "ARCHIVE"
_UNIQUE_KEYS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


class HandlerArchive:
    """A Server whose handlers do what a tutorial's would: answer from files, save into a folder.

    destinations: AE title -> port on this machine. .requests: every request that a handler got.
    """

    def __init__(
        self,
        folder: Path,
        paths: Sequence[Path] = (),
        destinations: Mapping[str, int] | None = None,
        **options: Any,
    ) -> None:
        self.folder, self.paths, self.destinations = folder, list(paths), dict(destinations or {})
        self.requests: list[Any] = []
        self.server = aiodimse.Server(ae_title=TITLE, **options)
        self.server.on_c_store(self._store)
        self.server.on_c_find(self._find)
        self.server.on_c_get(self._get)
        self.server.on_c_move(self._move)

    async def _store(self, request: Any) -> int:
        self.requests.append(request)
        await request.save(self.folder, durable=False)
        return 0x0000

    def _selected(self, identifier: Dataset) -> list[tuple[Path, Dataset]]:
        heads = [(path, dcmread(path, stop_before_pixels=True)) for path in self.paths]
        wanted = {key: identifier.get(key) for key in _UNIQUE_KEYS if identifier.get(key)}
        return [(p, head) for p, head in heads if all(head.get(key) == value for key, value in wanted.items())]

    async def _find(self, request: Any) -> AsyncIterator[Any]:
        self.requests.append(request)
        for _, head in self._selected(request.identifier):
            match = Dataset()
            for element in request.identifier:
                match[element.tag] = head.get(element.tag, element)
            match.QueryRetrieveLevel = request.identifier.get("QueryRetrieveLevel", "STUDY")
            if "SpecificCharacterSet" in head:
                match.SpecificCharacterSet = head.SpecificCharacterSet
            yield 0xFF00, match

    async def _get(self, request: Any) -> AsyncIterator[Any]:
        self.requests.append(request)
        selected = self._selected(request.identifier)
        yield len(selected)
        for path, _ in selected:
            yield 0xFF00, path

    async def _move(self, request: Any) -> AsyncIterator[Any]:
        self.requests.append(request)
        port = self.destinations.get(request.move_destination)
        if port is None:
            yield None
            return
        yield HOST, port
        selected = self._selected(request.identifier)
        yield len(selected)
        for path, _ in selected:
            yield path

    def stored(self) -> list[Path]:
        return sorted(self.folder.iterdir())


class Serve(Provider):
    """python -m aiodimse serve over a folder. destinations: AE title -> port on this machine."""

    title = TITLE

    def __init__(self, folder: Path, destinations: Mapping[str, int] | None = None, *words: str) -> None:
        self.archive = folder / "archive"
        self.archive.mkdir(exist_ok=True)
        port = free_port()
        known = [f"--destination={title}={HOST}:{to}" for title, to in (destinations or {}).items()]
        command = [sys.executable, "-m", "aiodimse", "serve", str(self.archive), "--host", HOST, "--port", str(port)]
        super().__init__([*command, "--ae-title", self.title, *known, *words], port, folder, {"PYTHONUNBUFFERED": "1"})

    def files(self) -> list[Path]:
        return sorted(self.archive.rglob("*.dcm"))  # the index lies beside them


def aiodimse_command(*words: str | Path) -> list[str]:
    """The command line of our own user side."""
    return [sys.executable, "-m", "aiodimse", *map(str, words)]


def keys(level: str = "STUDY", **more: Any) -> Dataset:
    """An identifier."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword, value in more.items():
        setattr(identifier, keyword, value)
    return identifier
