"""C-FIND on the user's side (PS3.4 C.4.1, PS3.7 9.1.2)."""

from __future__ import annotations

from pydicom.dataset import Dataset

from aiodimse.aio.endpoint import Endpoint
from aiodimse.dimse import messages
from aiodimse.errors import DatasetDecodeError
from aiodimse.services.decoding import decoded_identifier
from aiodimse.services.response import EncodedDataset, Identifier, Response, response_of
from aiodimse.services.user.operation import Operation
from aiodimse.standard.leniency import UNDECODABLE_MATCH


class Find(Operation[Dataset]):
    """A C-FIND of ours. Iterating it yields the matches, as pydicom Datasets."""

    _service = "C-FIND"

    def __init__(self, endpoint: Endpoint, identifier: Identifier, sop_class_uid: str | None, priority: int) -> None:
        super().__init__(endpoint, identifier, sop_class_uid, priority)
        self.undecodable: list[EncodedDataset] = []
        """Matches that cannot be decoded, as they were received. They are skipped with a WARNING, and the others are
        yielded. At most Limits.requests_in_memory bytes of them are kept. With connect(strict=True) such a match raises
        DatasetDecodeError instead."""
        self._kept = 0

    def _make(self) -> messages.Request:
        return messages.CFindRQ(message_id=0, affected_sop_class_uid=self._uid, priority=self._priority)

    async def _take(self, response: messages.Response, data: bytes | None) -> Dataset | None:
        assert self._context is not None
        self._note(response)
        if data is None:
            return None
        endpoint, transfer_syntax = self._endpoint, self._context.transfer_syntax
        try:
            return await decoded_identifier(data, transfer_syntax, endpoint)
        except DatasetDecodeError as error:
            if endpoint.settings.strict:
                raise
            endpoint.tolerate(UNDECODABLE_MATCH, str(error))
            self._kept += len(data)
            if self._kept <= endpoint.limits.requests_in_memory:
                self.undecodable.append(EncodedDataset(data, transfer_syntax))
            return None

    async def _final(self, response: messages.Response, data: bytes | None) -> Response:
        assert self._invoked is not None
        return response_of(self._invoked.operation.request, response, peer=self._endpoint.peer)

    async def collect(self, limit: int | None = None) -> list[Dataset]:
        """Collect the matches.

        Args:
            limit: The largest number of matches; the query is then cancelled. None: all.

        Returns:
            The matches, without those of `undecodable`.

        Raises:
            DIMSEFailure: The final status is a Failure.
            AssociationError: As for every operation of Association.

        Cancellation: the operation is left (C-CANCEL). Its matches are lost.
        """
        matches: list[Dataset] = []
        async with self:
            if limit is not None and limit <= 0:
                return matches
            async for match in self:
                matches.append(match)
                if limit is not None and len(matches) >= limit:
                    break
        return matches
