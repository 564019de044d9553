"""What a peer sends that is work for us and brings nothing, and how much of it an association may have.

Tiny fragments, requests that are refused before a handler sees them, and C-CANCELs for nothing keep the rules of PS3.7
and PS3.8 one by one. A flood of them is counted against what else comes: bytes, and requests that are performed.
"""

from __future__ import annotations

from aiodimse.config import Limits
from aiodimse.errors import RemoteProtocolError

SMALL_FRAGMENT = 64
"""A fragment with fewer bytes of data, that is not the last of its command set or data set, is tiny. Nobody who takes
the least maximum length (`SMALLEST_MAXIMUM_LENGTH`) has to send such."""

# How much work each is, in fragments: what it takes to read one, and what it takes to read and answer a request.
FRAGMENT, REFUSAL, STRAY_CANCEL = 1, 4, 4
_EARNED_BY_REQUEST = 8
_BYTES_FOR_ONE = 1024
_FORGIVEN_EACH_SECOND = 64


class Overhead:
    """The account of one association: what was spent, and what was earned by payload.

    A little is forgiven with time: what comes slowly holds nobody up.
    """

    __slots__ = ("_allowed", "_forgiven_at", "bytes_received", "now", "requests_performed", "spent")

    def __init__(self, limits: Limits) -> None:
        self._allowed = limits.overhead
        self._forgiven_at = 0.0
        self.now: float = 0.0
        """Seconds of a monotonic clock."""
        self.spent: int = 0
        self.bytes_received: int = 0
        self.requests_performed: int = 0

    @property
    def earned(self) -> int:
        """What all that has come so far is good for."""
        return self.bytes_received // _BYTES_FOR_ONE + self.requests_performed * _EARNED_BY_REQUEST

    def is_within(self, cost: int) -> bool:
        """Spend this much more; whether the peer may go on."""
        if forgiven := int((self.now - self._forgiven_at) * _FORGIVEN_EACH_SECOND):
            self.spent, self._forgiven_at = max(0, self.spent - forgiven), self.now
        self.spent += cost
        return self.spent <= self._allowed or self.spent <= self._allowed + self.earned

    def spend(self, cost: int, what: str) -> None:
        """Spend this much more.

        Raises:
            RemoteProtocolError: Too much was; the reason is 0, not specified (PS3.8 9.3.8), for no rule is broken.
        """
        if not self.is_within(cost):
            raise RemoteProtocolError(f"too much work for nothing, lastly {what}", reason=0)
