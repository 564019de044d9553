"""Log lines that say which association they are about: `[A12 MODALITY@192.0.2.7:51234] ...`, and the same as fields.

A LoggerAdapter keeps the name of its logger. It is made where a line is written, and asks for names and addresses only
when the level is on. What a peer calls itself is escaped: it may call itself anything. The store association of a
C-MOVE says whose it is: `[A13 VIEWER@192.0.2.8:104 for A12] ...`.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import ssl
import traceback
from typing import TYPE_CHECKING, Any

from aiodimse.pdu import AssociateRQ

if TYPE_CHECKING:
    from aiodimse.aio.endpoint import Endpoint

    Adapter = logging.LoggerAdapter[logging.Logger]
else:
    Adapter = logging.LoggerAdapter  # generic for type checkers alone

FIELDS = ("association", "peer", "calling", "called", "message_id", "parent")

_numbers = itertools.count(1)


def next_name() -> str:
    """A short name for an association, once per process: A1, A2 and so on."""
    return f"A{next(_numbers)}"


class AssociationLogger(Adapter):
    """A logger whose lines begin with the association, and whose records have it as fields.

    association: its short name; peer: address and port; calling, called: AE titles; message_id: of the request that the
    line is about; parent: the association whose C-MOVE this one stores for. A field that is not known (yet) is None,
    all of them in lines about no association.
    """

    def __init__(self, logger: logging.Logger, endpoint: Endpoint | None, message_id: int | None = None) -> None:
        super().__init__(logger, None)
        self._endpoint, self._message_id = endpoint, message_id

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """As Logger.log; msg must be a format string, for the association is its first argument."""
        if not self.isEnabledFor(level):
            return
        fields: dict[str, object] = dict.fromkeys(FIELDS)
        if (endpoint := self._endpoint) is not None:
            name, parent, where, rq = endpoint.name, endpoint.settings.parent, *_who(endpoint)
            calling = called = None
            if rq is not None:
                calling, called = escaped(rq.calling_ae_title), escaped(rq.called_ae_title)
            peer = calling if endpoint.engine.machine.role == "acceptor" else called
            words = (name, "@".join(word for word in (peer, where) if word), parent and f"for {parent}")
            msg, args = f"[%s] {msg}", (" ".join(word for word in words if word), *args)
            fields = dict(zip(FIELDS, (name, where, calling, called, self._message_id, parent), strict=True))
        kwargs["extra"] = {**fields, **(kwargs.get("extra") or {})}
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        self.logger.log(level, msg, *args, **kwargs)


def _who(endpoint: Endpoint) -> tuple[str | None, AssociateRQ | None]:
    address = endpoint.wire.peer_address
    return None if address is None else address_words(address), endpoint.engine.rq


def address_words(address: tuple[Any, ...]) -> str:
    """Host and port of a socket's address."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def escaped(text: str) -> str:
    """Text of a peer for a log: no line breaks, no control characters, nothing but ASCII."""
    return ascii(text)[1:-1]


def kind(error: BaseException) -> str:
    """An exception without its text, which may quote patient data: its type, and of a system's error its number in
    words, but not the file that it is about: `OSError ENOSPC (No space left on device)`."""
    name = type(error).__qualname__
    number = error.errno if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else None
    if number is None or number not in errno.errorcode:
        return name
    return f"{name} {errno.errorcode[number]} ({os.strerror(number)})"


def frames(error: BaseException) -> str:
    """A traceback without the texts of its exceptions, which may quote patient data: where it was, and the types."""
    parts: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        lines = "".join(traceback.format_tb(current.__traceback__))
        parts.append(f"{lines}{type(current).__module__}.{kind(current)}")
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\nraised from:\n".join(parts)
