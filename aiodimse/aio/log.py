"""Log lines that name their association, `[A12 MODALITY@192.0.2.7:51234] ...`, and have the same in fields.

A LoggerAdapter keeps the name of its logger. It is made where a line is written, and asks for names and addresses only
if the level is enabled. AE titles of the peer are escaped, since they may hold anything. The lines of a store
association name the association of its C-MOVE: `[A13 VIEWER@192.0.2.8:104 for A12] ...`.
"""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Any, Protocol

from aiodimse.aio.words import address_words
from aiodimse.association import Role
from aiodimse.pdu import AssociateRQ
from aiodimse.standard.values import escaped

if TYPE_CHECKING:
    Adapter = logging.LoggerAdapter[logging.Logger]
else:
    Adapter = logging.LoggerAdapter  # LoggerAdapter is generic only for type checkers.

FIELDS = ("association", "peer", "calling", "called", "message_id", "parent")

_numbers = itertools.count(1)


def next_name() -> str:
    """Return a short name for an association, unique in this process: A1, A2 and so on."""
    return f"A{next(_numbers)}"


class Subject(Protocol):
    """What a line is about: one association."""

    @property
    def name(self) -> str:
        """Its short name."""

    @property
    def parent(self) -> str | None:
        """The short name of the association whose C-MOVE this one stores for."""

    @property
    def role(self) -> Role:
        """Ours."""

    @property
    def peer_address(self) -> tuple[str, int] | None:
        """IP address and port of the peer, once they are known."""

    @property
    def rq(self) -> AssociateRQ | None:
        """The A-ASSOCIATE-RQ, sent or received."""


def peer_words(subject: Subject) -> str:
    """Return the AE title and the address of the peer, as far as they are known: `PACS@192.0.2.8:104`."""
    where = None if (address := subject.peer_address) is None else address_words(address)
    title = None
    if (rq := subject.rq) is not None:
        title = escaped(rq.calling_ae_title if subject.role == "acceptor" else rq.called_ae_title)
    return "@".join(word for word in (title, where) if word)


class AssociationLogger(Adapter):
    """A logger whose lines begin with the name of the association, and whose records have it in fields.

    The fields are `association`, its short name; `peer`, address and port; `calling` and `called`, AE titles;
    `message_id`, of the request that the line is about; `parent`, the association whose C-MOVE this one stores for. A
    field that is not known is None.
    """

    def __init__(self, logger: logging.Logger, subject: Subject | None, message_id: int | None = None) -> None:
        super().__init__(logger, None)
        self._subject, self._message_id = subject, message_id

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log as Logger.log does. `msg` must be a format string, since the association is its first argument."""
        if not self.isEnabledFor(level):
            return
        fields: dict[str, object] = dict.fromkeys(FIELDS)
        if (subject := self._subject) is not None:
            where = None if (address := subject.peer_address) is None else address_words(address)
            calling = called = None
            if (rq := subject.rq) is not None:
                calling, called = escaped(rq.calling_ae_title), escaped(rq.called_ae_title)
            parent = subject.parent
            words = (subject.name, peer_words(subject), parent and f"for {parent}")
            msg, args = f"[%s] {msg}", (" ".join(word for word in words if word), *args)
            values = (subject.name, where, calling, called, self._message_id, parent)
            fields = dict(zip(FIELDS, values, strict=True))
        kwargs["extra"] = {**fields, **(kwargs.get("extra") or {})}
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        self.logger.log(level, msg, *args, **kwargs)
