"""Bounds the work that a peer makes us do for nothing.

Tiny fragments, requests that are refused before a handler sees them, and C-CANCELs without an operation are allowed by
PS3.7 and PS3.8 one by one. A flood of them is not: each is counted as cost, against the bytes that have come and the
requests that were performed.
"""

from __future__ import annotations

from aiodimse.config import Limits
from aiodimse.errors import RemoteProtocolError

SMALL_FRAGMENT = 64
"""A fragment is tiny if it has fewer bytes of data than this and is not the last of its command set or data set. No
peer needs to send one, not even to a receiver of the smallest maximum length (`SMALLEST_MAXIMUM_LENGTH`)."""

# The cost of each kind of work. The unit is the time to read one fragment.
FRAGMENT, REFUSAL, STRAY_CANCEL = 1, 4, 4
_EARNED_BY_REQUEST = 8
_BYTES_FOR_ONE = 1024
_FORGIVEN_EACH_SECOND = 64


class Overhead:
    """The account of one association: what its peer has cost, and what it has earned by data and by requests.

    Some cost is forgiven each second, so that a slow sender is never stopped.
    """

    __slots__ = ("_allowed", "_forgiven_at", "bytes_received", "now", "requests_performed", "spent")

    def __init__(self, limits: Limits) -> None:
        self._allowed = limits.overhead
        self._forgiven_at = 0.0
        self.now: float = 0.0
        """The time in seconds, of a monotonic clock."""
        self.spent: int = 0
        self.bytes_received: int = 0
        self.requests_performed: int = 0

    @property
    def earned(self) -> int:
        """The cost that all that has come so far pays for."""
        return self.bytes_received // _BYTES_FOR_ONE + self.requests_performed * _EARNED_BY_REQUEST

    def is_within(self, cost: int) -> bool:
        """Add a cost, and say whether the peer may go on."""
        if forgiven := int((self.now - self._forgiven_at) * _FORGIVEN_EACH_SECOND):
            self.spent, self._forgiven_at = max(0, self.spent - forgiven), self.now
        self.spent += cost
        return self.spent <= self._allowed or self.spent <= self._allowed + self.earned

    def spend(self, cost: int, what: str) -> None:
        """Add a cost.

        Raises:
            RemoteProtocolError: The account is overdrawn. The reason is 0, not specified (PS3.8 9.3.8), since no rule
                is broken.
        """
        if not self.is_within(cost):
            raise RemoteProtocolError(f"too much work for nothing, lastly {what}", reason=0)
