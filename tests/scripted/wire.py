"""What goes over the wire, built and read with struct alone: no part of aiodimse and no pydicom in it.

It judges nothing: it writes whatever it is told, right or wrong, and reads only what the tests look at.
Field layouts: PS3.8 9.3 (PDUs), PS3.7 D.3 (user information), PS3.7 6.3 and E (command sets), PS3.5 7 (data sets).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

A_ASSOCIATE_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, P_DATA_TF, A_RELEASE_RQ, A_RELEASE_RP, A_ABORT = range(1, 8)
PDU_NAMES = {
    A_ASSOCIATE_RQ: "A-ASSOCIATE-RQ",
    A_ASSOCIATE_AC: "A-ASSOCIATE-AC",
    A_ASSOCIATE_RJ: "A-ASSOCIATE-RJ",
    P_DATA_TF: "P-DATA-TF",
    A_RELEASE_RQ: "A-RELEASE-RQ",
    A_RELEASE_RP: "A-RELEASE-RP",
    A_ABORT: "A-ABORT",
}

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"
VERIFICATION, CT_IMAGE_STORAGE = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.1.2"
STUDY_ROOT_FIND, STUDY_ROOT_MOVE, STUDY_ROOT_GET = (f"1.2.840.10008.5.1.4.1.2.2.{n}" for n in (1, 2, 3))

Tag = tuple[int, int]
Value = bytes | int | str
Context = tuple[int, str, Sequence[str]]  # id, abstract syntax, transfer syntaxes

# --- command elements (PS3.7 E.1) -------------------------------------------------------------------------------------
GROUP_LENGTH, SOP_CLASS, REQUESTED_SOP_CLASS = (0, 0x0000), (0, 0x0002), (0, 0x0003)
COMMAND_FIELD, MESSAGE_ID, RESPONDED_TO, MOVE_DESTINATION = (0, 0x0100), (0, 0x0110), (0, 0x0120), (0, 0x0600)
PRIORITY, DATA_SET_TYPE, STATUS = (0, 0x0700), (0, 0x0800), (0, 0x0900)
OFFENDING_ELEMENT, ERROR_COMMENT, ERROR_ID = (0, 0x0901), (0, 0x0902), (0, 0x0903)
INSTANCE, REQUESTED_INSTANCE = (0, 0x1000), (0, 0x1001)
EVENT_TYPE, ATTRIBUTES, ACTION_TYPE = (0, 0x1002), (0, 0x1005), (0, 0x1008)
REMAINING, COMPLETED, FAILED, WARNING = (0, 0x1020), (0, 0x1021), (0, 0x1022), (0, 0x1023)
ORIGINATOR_TITLE, ORIGINATOR_ID = (0, 0x1030), (0, 0x1031)
_UIDS = {SOP_CLASS, REQUESTED_SOP_CLASS, INSTANCE, REQUESTED_INSTANCE}

C_STORE, C_GET, C_FIND, C_MOVE, C_ECHO, C_CANCEL, RESPONSE = 0x0001, 0x0010, 0x0020, 0x0021, 0x0030, 0x0FFF, 0x8000
NO_DATA_SET = 0x0101


# --- PDUs -------------------------------------------------------------------------------------------------------------
def pdu(kind: int, body: bytes = b"\0\0\0\0") -> bytes:
    return struct.pack(">BBI", kind, 0, len(body)) + body


def item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def counted(text: str | bytes) -> bytes:
    """A two-byte length, then the bytes, as user-information sub-items have them."""
    raw = text if isinstance(text, bytes) else text.encode("ascii")
    return struct.pack(">H", len(raw)) + raw


def associate(
    kind: int,
    contexts: bytes,
    *,
    called: str = "ANY-SCP",
    calling: str = "SCRIPTED",
    max_length: int | None = 16384,
    implementation_uid: str | None = "1.2.826.0.1.3680043.10.9999",
    version_name: str | None = "SCRIPTED",
    window: tuple[int, int] | None = None,
    roles: Mapping[str, tuple[int, int]] | None = None,
    extended: Mapping[str, bytes] | None = None,
    common_extended: Iterable[tuple[str, str, Sequence[str]]] = (),
    identity: tuple[int, int, bytes, bytes] | None = None,
    identity_response: bytes | None = None,
    application_context: str = APPLICATION_CONTEXT,
    protocol_version: int = 1,
    more_items: bytes = b"",
    more_user_items: bytes = b"",
) -> bytes:
    """An A-ASSOCIATE-RQ or -AC; None leaves a sub-item out, more_items are appended as they are."""
    user = b""
    if max_length is not None:
        user += item(0x51, struct.pack(">I", max_length))
    if implementation_uid is not None:
        user += item(0x52, implementation_uid.encode("ascii"))
    if window is not None:
        user += item(0x53, struct.pack(">HH", *window))
    for uid, (scu, scp) in (roles or {}).items():
        user += item(0x54, counted(uid) + bytes((scu, scp)))
    if version_name is not None:
        user += item(0x55, version_name.encode("ascii"))
    for uid, info in (extended or {}).items():
        user += item(0x56, counted(uid) + info)
    for uid, service, related in common_extended:
        user += item(0x57, counted(uid) + counted(service) + counted(b"".join(counted(r) for r in related)))
    if identity is not None:
        kind_of_identity, wanted, primary, secondary = identity
        user += item(0x58, bytes((kind_of_identity, wanted)) + counted(primary) + counted(secondary))
    if identity_response is not None:
        user += item(0x59, counted(identity_response))
    return pdu(
        kind,
        struct.pack(">HH", protocol_version, 0)
        + called.encode("latin-1").ljust(16)
        + calling.encode("latin-1").ljust(16)
        + bytes(32)
        + item(0x10, application_context.encode("ascii"))
        + contexts
        + item(0x50, user + more_user_items)
        + more_items,
    )


def proposed_context(context_id: int, abstract: str, transfer: Sequence[str]) -> bytes:
    syntaxes = item(0x30, abstract.encode("ascii")) + b"".join(item(0x40, ts.encode("ascii")) for ts in transfer)
    return item(0x20, bytes((context_id, 0, 0, 0)) + syntaxes)


def context_result(context_id: int, result: int, transfer: str) -> bytes:
    return item(0x21, bytes((context_id, 0, result, 0)) + item(0x40, transfer.encode("ascii")))


def associate_rq(contexts: Iterable[Context], **more: object) -> bytes:
    return associate(A_ASSOCIATE_RQ, b"".join(proposed_context(*c) for c in contexts), **more)  # type: ignore[arg-type]


def associate_ac(results: Iterable[tuple[int, int, str]], **more: object) -> bytes:
    return associate(A_ASSOCIATE_AC, b"".join(context_result(*r) for r in results), **more)  # type: ignore[arg-type]


def associate_rj(result: int, source: int, reason: int) -> bytes:
    return pdu(A_ASSOCIATE_RJ, bytes((0, result, source, reason)))


def abort(source: int = 0, reason: int = 0) -> bytes:
    return pdu(A_ABORT, bytes((0, 0, source, reason)))


RELEASE_RQ, RELEASE_RP = pdu(A_RELEASE_RQ), pdu(A_RELEASE_RP)


@dataclass
class Associate:
    """An A-ASSOCIATE-RQ or -AC as read. proposed: id -> (abstract, transfer syntaxes); results: id -> (result, ts)."""

    called: str
    calling: str
    protocol_version: int
    application_context: str = ""
    proposed: dict[int, tuple[str, list[str]]] = field(default_factory=dict)
    results: dict[int, tuple[int, str]] = field(default_factory=dict)
    user_items: list[tuple[int, bytes]] = field(default_factory=list)
    max_length: int | None = None
    implementation_uid: str | None = None
    version_name: str | None = None
    window: tuple[int, int] | None = None
    roles: dict[str, tuple[int, int]] = field(default_factory=dict)
    extended: dict[str, bytes] = field(default_factory=dict)
    identity: tuple[int, int, bytes, bytes] | None = None
    identity_response: bytes | None = None

    @property
    def accepted(self) -> dict[int, str]:
        """The accepted contexts: id -> transfer syntax."""
        return {key: ts for key, (result, ts) in self.results.items() if result == 0}


def _items(data: bytes) -> Iterable[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        kind, _, length = struct.unpack_from(">BBH", data, at)
        assert at + 4 + length <= len(data), f"item {kind:02X} at {at} runs past its end"
        yield kind, data[at + 4 : at + 4 + length]
        at += 4 + length


def _uncount(data: bytes, at: int = 0) -> tuple[bytes, int]:
    (length,) = struct.unpack_from(">H", data, at)
    return data[at + 2 : at + 2 + length], at + 2 + length


def read_associate(body: bytes) -> Associate:
    """The variable field of an A-ASSOCIATE-RQ or -AC."""
    version, _, called, calling = struct.unpack_from(">HH16s16s", body)
    found = Associate(called.decode("latin-1").strip(), calling.decode("latin-1").strip(), version)
    for kind, data in _items(body[68:]):
        if kind == 0x10:
            found.application_context = data.decode("ascii")
        elif kind in (0x20, 0x21):
            syntaxes = [(k, d.decode("ascii").rstrip("\0")) for k, d in _items(data[4:])]
            transfer = [uid for k, uid in syntaxes if k == 0x40]
            if kind == 0x20:
                found.proposed[data[0]] = (next(uid for k, uid in syntaxes if k == 0x30), transfer)
            else:
                found.results[data[0]] = (data[2], transfer[0] if transfer else "")
        elif kind == 0x50:
            for sub, value in _items(data):
                _read_user_item(found, sub, value)
    return found


def _read_user_item(found: Associate, kind: int, data: bytes) -> None:
    found.user_items.append((kind, data))
    if kind == 0x51:
        (found.max_length,) = struct.unpack(">I", data)
    elif kind == 0x52:
        found.implementation_uid = data.decode("ascii")
    elif kind == 0x53:
        found.window = struct.unpack(">HH", data)
    elif kind == 0x54:
        uid, at = _uncount(data)
        found.roles[uid.decode("ascii")] = (data[at], data[at + 1])
    elif kind == 0x55:
        found.version_name = data.decode("ascii")
    elif kind == 0x56:
        uid, at = _uncount(data)
        found.extended[uid.decode("ascii")] = data[at:]
    elif kind == 0x58:
        primary, at = _uncount(data, 2)
        found.identity = (data[0], data[1], primary, _uncount(data, at)[0])
    elif kind == 0x59:
        found.identity_response = _uncount(data)[0]


# --- P-DATA and messages ----------------------------------------------------------------------------------------------
def pdv(context_id: int, data: bytes, *, command: bool, last: bool) -> bytes:
    return struct.pack(">IBB", len(data) + 2, context_id, command | last << 1) + data


def p_data(*pdvs: bytes) -> bytes:
    return pdu(P_DATA_TF, b"".join(pdvs))


def read_pdvs(body: bytes) -> list[tuple[int, int, bytes]]:
    """(context id, control header, data) of each PDV of a P-DATA-TF."""
    found, at = [], 0
    while at < len(body):
        length, context_id, control = struct.unpack_from(">IBB", body, at)
        assert 2 <= length <= len(body) - at - 4, f"PDV length {length} at {at} does not fit its PDU"
        found.append((context_id, control, body[at + 6 : at + 4 + length]))
        at += 4 + length
    return found


def fragments(context_id: int, data: bytes, *, command: bool, limit: int = 16384) -> bytes:
    """One message half as P-DATA-TF PDUs, one PDV each; limit is the peer's maximum length, 0 for none."""
    step = limit - 6 if limit else max(len(data), 1)
    starts = range(0, max(len(data), 1), step)
    return b"".join(
        p_data(pdv(context_id, data[at : at + step], command=command, last=at + step >= len(data))) for at in starts
    )


def _raw(tag: Tag, value: Value) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, int):
        return struct.pack("<H", value)
    raw = value.encode("latin-1")
    return raw + (b"\0" if tag in _UIDS else b" ") * (len(raw) % 2)


def command(elements: Mapping[Tag, Value], *, group_length: bool = True) -> bytes:
    """A command set, Implicit VR Little Endian, ascending; bytes stand as they are, int is US, str is padded."""
    body = b"".join(
        struct.pack("<HHI", *tag, len(raw)) + raw
        for tag, raw in sorted((tag, _raw(tag, value)) for tag, value in elements.items())
    )
    return (struct.pack("<HHII", 0, 0, 4, len(body)) if group_length else b"") + body


def read_command(data: bytes) -> dict[Tag, bytes]:
    found, at = {}, 0
    while at < len(data):
        group, element, length = struct.unpack_from("<HHI", data, at)
        assert at + 8 + length <= len(data), f"({group:04x},{element:04x}) at {at} runs past the command set"
        found[group, element] = data[at + 8 : at + 8 + length]
        at += 8 + length
    return found


def message(context_id: int, elements: Mapping[Tag, Value], data: bytes | None = None, *, limit: int = 16384) -> bytes:
    """A whole message as P-DATA-TF PDUs. data None: no data set; b"" is one, empty. Command Data Set Type follows."""
    elements = {DATA_SET_TYPE: NO_DATA_SET if data is None else 1, **elements}
    whole = fragments(context_id, command(elements), command=True, limit=limit)
    return whole if data is None else whole + fragments(context_id, data, command=False, limit=limit)


# --- the requests that tests send most --------------------------------------------------------------------------------
def echo_rq(message_id: int = 1) -> dict[Tag, Value]:
    return {SOP_CLASS: VERIFICATION, COMMAND_FIELD: C_ECHO, MESSAGE_ID: message_id}


def find_rq(sop_class: str = STUDY_ROOT_FIND, message_id: int = 1, priority: int = 0) -> dict[Tag, Value]:
    return {SOP_CLASS: sop_class, COMMAND_FIELD: C_FIND, MESSAGE_ID: message_id, PRIORITY: priority}


def get_rq(sop_class: str = STUDY_ROOT_GET, message_id: int = 1, priority: int = 0) -> dict[Tag, Value]:
    return {SOP_CLASS: sop_class, COMMAND_FIELD: C_GET, MESSAGE_ID: message_id, PRIORITY: priority}


def move_rq(
    destination: str, sop_class: str = STUDY_ROOT_MOVE, message_id: int = 1, priority: int = 0
) -> dict[Tag, Value]:
    rq: dict[Tag, Value] = {SOP_CLASS: sop_class, COMMAND_FIELD: C_MOVE, MESSAGE_ID: message_id, PRIORITY: priority}
    return {**rq, MOVE_DESTINATION: destination}


def store_rq(sop_class: str, instance: str, message_id: int = 1, priority: int = 0) -> dict[Tag, Value]:
    rq: dict[Tag, Value] = {SOP_CLASS: sop_class, COMMAND_FIELD: C_STORE, MESSAGE_ID: message_id, PRIORITY: priority}
    return {**rq, INSTANCE: instance}


def cancel_rq(message_id: int) -> dict[Tag, Value]:
    return {COMMAND_FIELD: C_CANCEL, RESPONDED_TO: message_id}


# --- data sets --------------------------------------------------------------------------------------------------------
_LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}


def dataset(elements: Mapping[Tag, tuple[str, bytes | str | int]], transfer_syntax: str = EXPLICIT_LE) -> bytes:
    """A flat data set of {(group, element): (VR, value)}; str is padded as its VR wants, int is US."""
    out = b""
    for tag, (vr, value) in sorted(elements.items()):
        if isinstance(value, int):
            raw = struct.pack("<H", value)
        elif isinstance(value, str):
            raw = value.encode("utf-8")
            raw += (b"\0" if vr == "UI" else b" ") * (len(raw) % 2)
        else:
            raw = value
        if transfer_syntax == IMPLICIT_LE:
            head = struct.pack("<HHI", *tag, len(raw))
        elif vr in _LONG:
            head = struct.pack("<HH2sHI", *tag, vr.encode(), 0, len(raw))
        else:
            head = struct.pack("<HH2sH", *tag, vr.encode(), len(raw))
        out += head + raw
    return out


def read_dataset(data: bytes, transfer_syntax: str = EXPLICIT_LE) -> dict[Tag, bytes]:
    """The top level of a data set without elements of undefined length."""
    found, at = {}, 0
    while at < len(data):
        group, element = struct.unpack_from("<HH", data, at)
        if transfer_syntax == IMPLICIT_LE:
            (length,), start = struct.unpack_from("<I", data, at + 4), at + 8
        elif data[at + 4 : at + 6].decode("ascii") in _LONG:
            (length,), start = struct.unpack_from("<I", data, at + 8), at + 12
        else:
            (length,), start = struct.unpack_from("<H", data, at + 6), at + 8
        assert start + length <= len(data), f"({group:04x},{element:04x}) at {at} runs past the data set"
        found[group, element] = data[start : start + length]
        at = start + length
    return found


def identifier(level: str | None = "STUDY", transfer_syntax: str = EXPLICIT_LE, **keys: tuple[Tag, str, str]) -> bytes:
    """A Query/Retrieve Identifier: the level, and name=((group, element), VR, value) for each key."""
    elements: dict[Tag, tuple[str, bytes | str | int]] = {tag: (vr, value) for tag, vr, value in keys.values()}
    if level is not None:
        elements[0x0008, 0x0052] = ("CS", level)
    return dataset(elements, transfer_syntax)
