"""The gateway's access to the archive: one pool for searches and retrievals, one for storing."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Self

from pydicom import Dataset

import aiodimse
from aiodimse import sop_class

from .config import Config

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove


class Archive(AsyncExitStack):
    """The archive behind the gateway: `async with Archive(config) as archive`. It connects at the first request."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._move_port = config.move_port
        self._receiver = aiodimse.Server(ae_title=config.ae_title)
        pool = partial(
            aiodimse.Pool,
            config.archive_host,
            config.archive_port,
            max_size=config.associations,
            ae_title=config.ae_title,
            called_ae_title=config.archive_ae_title,
        )
        contexts = [sop_class.Verification, FIND, MOVE if config.move_port else GET]
        # The most common SOP classes are retrieved as they are stored, with a context for each transfer syntax.
        commonest, others = sop_class.GET_STORAGE_RANKED[:8], sop_class.GET_STORAGE_RANKED[8:]
        both = aiodimse.storage_contexts(commonest, compressed=True) + aiodimse.storage_contexts(others)
        storage = [replace(each, scu=False, scp=True) for each in both[: 128 - len(contexts)]]
        self.searching = pool(contexts=contexts, storage=storage)
        self.storing = pool(contexts=[sop_class.Verification])

    async def __aenter__(self) -> Self:
        if self._move_port is not None:
            await self.enter_async_context(self._receiver.listen(None, self._move_port))
        await self.enter_async_context(self.searching)
        await self.enter_async_context(self.storing)
        return self

    def find(self, identifier: Dataset) -> AsyncGenerator[Dataset, None]:
        """Yield the matches as they arrive. Closing the iterator early sends C-CANCEL."""
        return aiter(self.searching.c_find(identifier, FIND))

    def retrieve(self, uids: dict[str, str]) -> AsyncGenerator[aiodimse.Instance, None]:
        """Yield the instances of a study, of a series, or one, as they arrive. Closing early sends C-CANCEL."""
        wanted = aiodimse.identifier(("STUDY", "SERIES", "IMAGE")[len(uids) - 1], **uids)
        if self._move_port is None:
            return aiter(self.searching.c_get(wanted, GET))
        title = self._receiver.ae_title
        return aiter(self.searching.c_move(wanted, MOVE, destination=title, receiver=self._receiver))
