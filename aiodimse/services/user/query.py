"""C-FIND as its user (PS3.4 C.4.1, PS3.7 9.1.2)."""

from __future__ import annotations

from pydicom.dataset import Dataset

from aiodimse.dimse import messages
from aiodimse.services.decoding import decoded_identifier
from aiodimse.services.response import Response, response_of, status_of
from aiodimse.services.user.operation import Operation


class Find(Operation[Dataset]):
    """A C-FIND of ours: async for gives the matches, pydicom Datasets."""

    def _make(self) -> messages.Request:
        return messages.CFindRQ(message_id=0, affected_sop_class_uid=self._uid, priority=self._priority)

    async def _take(self, response: messages.Response, data: bytes | None) -> Dataset | None:
        assert self._context is not None
        self.last_status = status_of(response.status, self._uid, "C-FIND")
        if data is None:
            return None
        return await decoded_identifier(data, self._context.transfer_syntax, self._endpoint)

    async def _final(self, response: messages.Response, data: bytes | None) -> Response:
        assert self._invoked is not None
        return response_of(self._invoked.operation.request, response)

    async def collect(self, limit: int | None = None) -> list[Dataset]:
        """Run the query and keep its matches.

        Args:
            limit: How many at most; then the rest is cancelled. None: all.

        Returns:
            The matches, in the order in which they came.

        Raises:
            DIMSEFailure: The final status is a Failure.
            DatasetDecodeError: A match does not decode.

        Cancellation: The operation is left (C-CANCEL); what it had found is lost.
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
