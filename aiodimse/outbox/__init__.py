"""Store and forward: acknowledged instances that wait to be sent on, in SQLite beside their files."""

from aiodimse.outbox.deliveries import DeadLetter, Delivery
from aiodimse.outbox.outbox import Outbox

__all__ = ["DeadLetter", "Delivery", "Outbox"]
