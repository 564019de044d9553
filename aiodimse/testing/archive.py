"""An archive in memory, for tests of programs that talk to one."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from time import time_ns
from types import TracebackType
from typing import Any, Self, cast

from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from aiodimse.aio.environment import Environment
from aiodimse.archive import Archive, Entry, MemoryIndex, header_of, provide
from aiodimse.archive.storage import Stamp
from aiodimse.server import Server
from aiodimse.services.provider.destination import Destination
from aiodimse.services.request import Request, StoreRequest
from aiodimse.standard import sop_class

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


class _InMemory(Archive):
    """An archive without a folder: it is the storage of its own objects."""

    def __init__(self) -> None:
        self.objects = MemoryIndex()
        super().__init__(os.devnull, index=self.objects)
        self.storage = cast(Any, self)
        self.held: dict[str, Dataset] = {}
        self._stamps: dict[str, Stamp] = {}
        self.stored: list[Dataset] = []

    def keep(self, dataset: Dataset) -> Dataset:
        """Keep a copy of a data set. Missing UIDs are generated."""
        held = copy.deepcopy(dataset)
        for keyword in _UIDS:
            if not held.get(keyword):
                setattr(held, keyword, generate_uid())
        if not held.get("SOPClassUID"):
            held.SOPClassUID = sop_class.SecondaryCaptureImageStorage
        uid = str(held.SOPInstanceUID)
        self.held[uid], self._stamps[uid] = held, Stamp(size=0, modified=time_ns())
        self.objects.add_now(header_of(held, uid))
        return held

    async def store(self, request: StoreRequest, *, durable: bool = True) -> int:
        """Keep the instance of a C-STORE request."""
        self.stored.append(self.keep(await request.dataset()))
        return 0x0000

    # --- as a storage -------------------------------------------------------------------------------------------------

    def payload(self, entry: Entry) -> Dataset:
        """Return the data set of an entry of the index."""
        return self.held[entry.sop_instance_uid]

    def stamp(self, location: str) -> Stamp | None:
        """Return when an object was kept; None if there is none. Its location is its UID."""
        return self._stamps.get(location)


class FakeArchive:
    """A query/retrieve provider for data sets in memory, which the program under test can talk to.

    It answers C-ECHO, C-STORE, C-FIND, C-GET and C-MOVE as `aiodimse.archive` does. Data sets may be as small as the
    test needs: missing UIDs are generated, and the default SOP class is Secondary Capture.

    Args:
        datasets: Its content: data sets, which are copied, or paths of DICOM files.
        ae_title: Its AE title.
        destinations: Where a C-MOVE connects to, by AE title. It may be changed at any time.
        environment: The clock and the network. By default it listens on a free TCP port of this machine.

    Example:
        ```python
        study = Dataset()
        study.PatientID, study.StudyInstanceUID = "4711", "1.2.3"
        async with testing.FakeArchive([study]) as archive:
            await my_application.pull("4711", archive.host, archive.port)
        ```
    """

    def __init__(
        self,
        datasets: Iterable[Dataset | str | os.PathLike[str]] = (),
        *,
        ae_title: str = "FAKE",
        destinations: Mapping[str, Destination | tuple[str, int]] | None = None,
        environment: Environment | None = None,
    ) -> None:
        self.ae_title = ae_title
        self.destinations: dict[str, Destination | tuple[str, int]] = dict(destinations or {})
        """Where a C-MOVE to an AE title connects to."""
        self._archive = _InMemory()
        self.requests: list[str] = []
        """The DIMSE services of the requests, for example "C-FIND", in order."""
        self.host: str = "127.0.0.1"
        """The address on which it listens, inside its block."""
        self.port: int = 0
        """The TCP port on which it listens, inside its block; 0 before."""
        self.server: Server = Server(ae_title=ae_title, environment=environment)
        """The server, for further handlers and hooks."""
        self._stack = AsyncExitStack()
        provide(self.server, self._archive, destinations=self.destinations)
        self.server.authorize(self._note)
        for dataset in datasets:
            self.add(dataset if isinstance(dataset, Dataset) else dcmread(dataset))

    @property
    def datasets(self) -> list[Dataset]:
        """Its data sets, including those that were stored."""
        return list(self._archive.held.values())

    @property
    def stored(self) -> list[Dataset]:
        """The data sets that were stored by C-STORE, in order."""
        return self._archive.stored

    def add(self, dataset: Dataset) -> Dataset:
        """Add a data set.

        Args:
            dataset: The data set, which is copied. It replaces one with the same SOP Instance UID.

        Returns:
            The copy, with the generated UIDs.
        """
        return self._archive.keep(dataset)

    async def _note(self, request: Request) -> bool:
        self.requests.append(request.message.service)
        return True

    # --- listening ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        self._stack.push_async_callback(self._archive.close)
        listening = await self._stack.enter_async_context(self.server.listen(self.host, 0))
        self.port = listening.port
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop listening. Open associations continue to their end."""
        await self._stack.aclose()
