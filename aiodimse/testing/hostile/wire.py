"""Makes bytes of PS3.8 and PS3.7, valid or invalid as needed. Standard library only."""

from __future__ import annotations

import struct

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
VERIFICATION, FIND, CT = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.1.2"
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
CONTEXTS = ((1, VERIFICATION), (3, FIND), (5, CT))


def pdu(kind: int, body: bytes = bytes(4), length: int | None = None) -> bytes:
    """Return a PDU. `length` replaces the true length in its header."""
    return struct.pack(">BBI", kind, 0, len(body) if length is None else length) + body


def item(kind: int, body: bytes, *, more: int = 0) -> bytes:
    """Return an item or sub-item. `more` is added to its length."""
    return struct.pack(">BBH", kind, 0, (len(body) + more) & 0xFFFF) + body


def text(value: str) -> bytes:
    """Return a two-byte length and the text."""
    return struct.pack(">H", len(value)) + value.encode()


def context(
    context_id: int, abstract: str | None, transfer: tuple[str, ...] = (IMPLICIT,), lie: dict[int, int] | None = None
) -> bytes:
    """Return a presentation context item. `lie` has numbers to add to lengths, by item type."""
    lie = lie or {}
    body = bytes((context_id, 0, 0, 0))
    if abstract is not None:
        body += item(0x30, abstract.encode(), more=lie.get(0x30, 0))
    body += b"".join(item(0x40, uid.encode(), more=lie.get(0x40, 0)) for uid in transfer)
    return item(0x20, body, more=lie.get(0x20, 0))


def user_items(lie: dict[int, int] | None = None, max_length: int | None = 16384, *, full: bool = False) -> bytes:
    """Return the sub-items of user information; with `full` one of every kind."""
    lie = lie or {}
    items: list[tuple[int, bytes]] = []
    if max_length is not None:
        items.append((0x51, struct.pack(">I", max_length)))
    items.append((0x52, b"1.2.826.0.1.3680043.10.9999"))
    if full:
        items += [
            (0x53, struct.pack(">HH", 1, 1)),
            (0x54, text(VERIFICATION) + b"\1\0"),
            (0x55, b"HOSTILE"),
            (0x56, text(FIND) + b"\1\1"),
            (0x57, text(CT) + text("1.2.840.10008.4.2") + struct.pack(">H", 0)),
            (0x58, b"\1\0" + text("user") + text("")),
        ]
    return b"".join(item(kind, body, more=lie.get(kind, 0)) for kind, body in items)


def associate_rq(
    contexts: bytes | None = None,
    *,
    called: str = "",
    version: int = 1,
    application: str | None = APPLICATION_CONTEXT,
    user: bytes | None = None,
    lie: dict[int, int] | None = None,
    length: int | None = None,
    kind: int = 1,
    more: bytes = b"",
) -> bytes:
    """Return an A-ASSOCIATE-RQ."""
    lie = lie or {}
    if contexts is None:
        contexts = b"".join(context(number, uid, lie=lie) for number, uid in CONTEXTS)
    body = struct.pack(">HH", version, 0) + called.encode().ljust(16) + b"HOSTILE".ljust(16) + bytes(32)
    if application is not None:
        body += item(0x10, application.encode(), more=lie.get(0x10, 0))
    body += contexts
    user = user_items(lie, full=bool(lie)) if user is None else user
    return pdu(kind, body + item(0x50, user, more=lie.get(0x50, 0)) + more, length)


ASSOCIATE_AC = pdu(
    2,
    struct.pack(">HH", 1, 0)
    + b"X".ljust(16)
    + b"Y".ljust(16)
    + bytes(32)
    + item(0x10, APPLICATION_CONTEXT.encode())
    + item(0x21, b"\1\0\0\0" + item(0x40, IMPLICIT.encode()))
    + item(0x50, user_items()),
)
ASSOCIATE_RJ = pdu(3, b"\0\1\1\1")
RELEASE_RQ, RELEASE_RP, ABORT = pdu(5), pdu(6), pdu(7)


def pdv(context_id: int, data: bytes, control: int = 3, length: int | None = None) -> bytes:
    """Return a PDV. Bits of `control`: 1: command, 2: last fragment."""
    return struct.pack(">IBB", len(data) + 2 if length is None else length, context_id, control) + data


def p_data(*pdvs: bytes, length: int | None = None) -> bytes:
    """Return a P-DATA-TF."""
    return pdu(4, b"".join(pdvs), length)


def element(number: int, value: bytes | int | str, length: int | None = None, group: int = 0) -> bytes:
    """Return an element of a command set, or of a data set in Implicit VR Little Endian."""
    if isinstance(value, int):
        value = struct.pack("<H", value)
    elif isinstance(value, str):
        value = value.encode() + b"\0" * (len(value) % 2)
    return struct.pack("<HHI", group, number, len(value) if length is None else length) + value


def command(*elements: bytes, group_length: int | None = 0) -> bytes:
    """Return a command set. `group_length` is added to the true group length; None leaves the element out."""
    body = b"".join(elements)
    if group_length is None:
        return body
    return element(0x0000, struct.pack("<I", len(body) + group_length)) + body


def request(
    field: int, sop_class: str = VERIFICATION, message_id: int = 1, *more: bytes, data: bool = False, **options: int
) -> bytes:
    """Return the command set of a request."""
    return command(
        element(0x0002, sop_class),
        element(0x0100, field),
        element(0x0110, message_id),
        *more,
        element(0x0800, 1 if data else 0x0101),
        **options,
    )


ECHO = request(0x0030)
ECHO_RSP = command(
    element(0x0002, VERIFICATION),
    element(0x0100, 0x8030),
    element(0x0120, 1),
    element(0x0800, 0x0101),
    element(0x0900, 0),
)
FIND_RQ = request(0x0020, FIND, 1, element(0x0700, 0), data=True)
INSTANCE = "1.2.826.0.1.3680043.10.9999.1"
STORE_RQ = command(
    element(0x0002, CT),
    element(0x0100, 0x0001),
    element(0x0110, 1),
    element(0x0700, 0),
    element(0x0800, 1),
    element(0x1000, INSTANCE),
)
IMAGE = element(0x0016, CT, group=8) + element(0x0018, INSTANCE, group=8)
"""The smallest data set that can be stored."""


def cancel(message_id: int) -> bytes:
    """Return a C-CANCEL-RQ in a P-DATA-TF."""
    body = command(element(0x0100, 0x0FFF), element(0x0120, message_id), element(0x0800, 0x0101))
    return p_data(pdv(1, body))
