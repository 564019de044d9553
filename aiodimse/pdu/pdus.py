"""The seven PDUs of PS3.8 9.3 as plain values."""

import struct
from collections.abc import Iterable
from dataclasses import field
from typing import TypeAlias

from aiodimse.errors import PDUDecodeError
from aiodimse.pdu import item_codec
from aiodimse.pdu.cursor import MAX_ITEMS_OF_KIND, Cursor, Reading, item, text, u8, u16, u32, uid
from aiodimse.pdu.items import ContextResult, ProposedContext, UnknownItem, UserInformation
from aiodimse.record import record
from aiodimse.standard.leniency import Tolerated
from aiodimse.standard.values import AE_TITLE_LENGTH

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
"""The DICOM application context name, the only one there is (PS3.7 A.2.1)."""


def _parties(pdu: "AssociateRQ | AssociateAC") -> str:
    # repr escapes what a peer may have hidden in a title
    value = pdu.user_information.maximum_length
    length = "absent" if value is None else str(value)
    return f"{pdu.calling_ae_title!r} -> {pdu.called_ae_title!r}, maximum length {length}"


@record
class AssociateRQ:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2). AE titles have no padding here; a field whose item is missing is empty."""

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[ProposedContext, ...]
    user_information: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1
    """Only bit 0 is tested (PS3.8 9.3.2)."""
    unknown_items: tuple[UnknownItem, ...] = ()
    tolerated: tuple[Tolerated, ...] = field(default=(), repr=False, compare=False)
    """What was tolerated of the bytes that it was read from."""

    def __str__(self) -> str:
        return f"A-ASSOCIATE-RQ {_parties(self)}, {len(self.contexts)} contexts"


@record
class AssociateAC:
    """A-ASSOCIATE-AC (PS3.8 9.3.3). The titles are reserved fields that repeat those of the RQ and are not tested."""

    called_ae_title: str
    calling_ae_title: str
    results: tuple[ContextResult, ...]
    user_information: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1
    unknown_items: tuple[UnknownItem, ...] = ()
    tolerated: tuple[Tolerated, ...] = field(default=(), repr=False, compare=False)
    """What was tolerated of the bytes that it was read from."""

    def __str__(self) -> str:
        accepted = sum(result.result == 0 for result in self.results)
        return f"A-ASSOCIATE-AC {_parties(self)}, {accepted} of {len(self.results)} contexts accepted"


@record
class AssociateRJ:
    """A-ASSOCIATE-RJ (PS3.8 9.3.4); the words for its numbers are in standard/reason.py."""

    result: int
    source: int
    reason: int

    def __str__(self) -> str:
        return f"A-ASSOCIATE-RJ {self.result}/{self.source}/{self.reason}"


@record
class PDV:
    """Presentation-data-value Item (PS3.8 9.3.5.1) with its message control header (PS3.8 E.2)."""

    context_id: int
    is_command: bool
    is_last: bool
    data: bytes | memoryview = field(repr=False)

    def __str__(self) -> str:
        kind = "command" if self.is_command else "data"
        return f"{kind}{' last' if self.is_last else ''} in {self.context_id}, {len(self.data)} bytes"


@record
class PDataTF:
    """A whole P-DATA-TF (PS3.8 9.3.5). PDUReader does not make it, since it hands on PDVs before their PDU is
    complete."""

    pdvs: tuple[PDV, ...]

    def __str__(self) -> str:
        return f"P-DATA-TF {'; '.join(map(str, self.pdvs))}"


@record
class ReleaseRQ:
    """A-RELEASE-RQ (PS3.8 9.3.6)."""

    def __str__(self) -> str:
        return "A-RELEASE-RQ"


@record
class ReleaseRP:
    """A-RELEASE-RP (PS3.8 9.3.7)."""

    def __str__(self) -> str:
        return "A-RELEASE-RP"


@record
class Abort:
    """A-ABORT (PS3.8 9.3.8). The source is 0 for the service-user and 2 for the service-provider; the reason is
    significant only with source 2."""

    source: int
    reason: int

    def __str__(self) -> str:
        return f"A-ABORT {self.source}/{self.reason}"


PDU: TypeAlias = AssociateRQ | AssociateAC | AssociateRJ | PDataTF | ReleaseRQ | ReleaseRP | Abort


# --- bytes ------------------------------------------------------------------------------------------------------------

HEADER_LENGTH = 6
"""The length of the header of every PDU: PDU-type, a reserved byte, PDU-length."""
PDV_HEADER_LENGTH = 6
"""The length of the header of every PDV: Item-length, Presentation-context-ID, message control header. A P-DATA-TF
cannot be shorter."""

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA_TF, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
NAMES = {
    ASSOCIATE_RQ: "A-ASSOCIATE-RQ",
    ASSOCIATE_AC: "A-ASSOCIATE-AC",
    ASSOCIATE_RJ: "A-ASSOCIATE-RJ",
    P_DATA_TF: "P-DATA-TF",
    RELEASE_RQ: "A-RELEASE-RQ",
    RELEASE_RP: "A-RELEASE-RP",
    ABORT: "A-ABORT",
}

# Message control header: the other bits are sent as 0 and not tested (PS3.8 E.2).
COMMAND, LAST = 1, 2

PDATA_HEADER = struct.Struct(">BxIIBB")


def decode(data: bytes, *, strict: bool = False) -> PDU:
    """Decode one whole PDU.

    Args:
        data: The bytes, with the header.
        strict: Whether to use none of the leniencies of `standard/leniency.py`.

    Raises:
        PDUDecodeError: The bytes are not a PDU. No other exception is raised.
    """
    pdu_type = data[0] if data else 0
    if pdu_type not in NAMES:
        raise PDUDecodeError(f"{pdu_type:02X}H is none of the seven", field="PDU-type", offset=0, reason=1)
    cursor = Cursor(data, 1, len(data), NAMES[pdu_type], Reading(strict))
    cursor.take(1, "Reserved")
    length = cursor.u32("PDU-length")
    if length != cursor.left:
        raise cursor.error(f"{length} bytes announced, {cursor.left} there", "PDU-length", 2)
    if fault := length_fault(pdu_type, length):
        raise cursor.error(fault, "PDU-length", 2)
    if pdu_type in (ASSOCIATE_RQ, ASSOCIATE_AC):
        return _read_associate(pdu_type, cursor)
    if pdu_type == P_DATA_TF:
        return _read_pdata(cursor)
    _, result, source, reason = cursor.rest()
    match pdu_type:
        case 3:
            return AssociateRJ(result, source, reason)
        case 5:
            return ReleaseRQ()
        case 6:
            return ReleaseRP()
    return Abort(source, reason)


def length_fault(pdu_type: int, length: int) -> str:
    """Say what is wrong with a PDU-length, without regard to limits; "" if nothing is."""
    if pdu_type == P_DATA_TF:
        return "" if length >= PDV_HEADER_LENGTH else f"{length} bytes cannot hold a PDV"
    if pdu_type in (ASSOCIATE_RQ, ASSOCIATE_AC) or length == 4:
        return ""
    return f"{length} bytes instead of 4"


def encode(pdu: PDU) -> bytes:
    """Encode a PDU.

    Raises:
        LocalProtocolError: A value does not fit in its field.
    """
    match pdu:
        case AssociateRQ():
            return _write_associate(ASSOCIATE_RQ, pdu, map(item_codec.write_context, pdu.contexts))
        case AssociateAC():
            return _write_associate(ASSOCIATE_AC, pdu, map(item_codec.write_result, pdu.results))
        case AssociateRJ(result, source, reason):
            return _write(ASSOCIATE_RJ, b"\0", u8(result, "Result"), u8(source, "Source"), u8(reason, "Reason/Diag."))
        case PDataTF(pdvs):
            return _write(P_DATA_TF, *(part for pdv in pdvs for part in _write_pdv(pdv)))
        case ReleaseRQ():
            return _write(RELEASE_RQ, b"\0\0\0\0")
        case ReleaseRP():
            return _write(RELEASE_RP, b"\0\0\0\0")
        case Abort(source, reason):
            return _write(ABORT, b"\0\0", u8(source, "Source"), u8(reason, "Reason/Diag."))


def pdata_header(context_id: int, is_command: bool, is_last: bool, length: int) -> bytes:
    """Encode what stands before the data of a P-DATA-TF of one PDV: 12 bytes. `length` is that of the data."""
    control = (COMMAND if is_command else 0) | (LAST if is_last else 0)
    return PDATA_HEADER.pack(P_DATA_TF, length + PDV_HEADER_LENGTH, length + 2, context_id, control)


def _write(pdu_type: int, *parts: bytes | memoryview) -> bytes:
    value = b"".join(parts)
    return u8(pdu_type, "PDU-type") + b"\0" + u32(len(value), "PDU-length") + value


def _write_pdv(pdv: PDV) -> tuple[bytes | memoryview, ...]:
    control = (COMMAND if pdv.is_command else 0) | (LAST if pdv.is_last else 0)
    context_id = u8(pdv.context_id, "Presentation-context-ID")
    return u32(len(pdv.data) + 2, "Item-length"), context_id, bytes((control,)), pdv.data


def _read_pdata(cursor: Cursor) -> PDataTF:
    pdvs = []
    while cursor.left:
        start = cursor.at
        if cursor.left < PDV_HEADER_LENGTH:
            raise cursor.error(f"{cursor.left} bytes left, a PDV takes {PDV_HEADER_LENGTH}", "Item-length")
        size = cursor.u32("Item-length")
        if not 2 <= size <= cursor.left:
            raise cursor.error(f"PDV of {size} bytes, {cursor.left} left", "Item-length", start)
        context_id, control = cursor.u8("Presentation-context-ID"), cursor.u8("Message control header")
        data = cursor.take(size - 2, "Presentation-data-value")
        pdvs.append(PDV(context_id, bool(control & COMMAND), bool(control & LAST), data))
    return PDataTF(tuple(pdvs))


def _read_associate(pdu_type: int, cursor: Cursor) -> AssociateRQ | AssociateAC:
    """Read an A-ASSOCIATE-RQ or -AC.

    Items may be missing and in any order, and unexpected ones are skipped. The floor above decides whether an
    association is possible with the rest: it can tell the peer more with an A-ASSOCIATE-RJ than this floor with an
    A-ABORT.
    """
    protocol_version = cursor.u16("Protocol-version")
    cursor.take(2, "Reserved")
    called = cursor.ae_title("Called-AE-title")
    calling = cursor.ae_title("Calling-AE-title")
    cursor.take(32, "Reserved")
    application_context: str | None = None
    information: UserInformation | None = None
    contexts: list[ProposedContext] = []
    results: list[ContextResult] = []
    unknown: list[UnknownItem] = []
    for item_type, value in cursor.items(item_codec.NAMES, MAX_ITEMS_OF_KIND):
        if item_type == 0x10 and application_context is None:
            application_context = value.uid(value.left, "Application-context-name")
        elif item_type == 0x20 and pdu_type == ASSOCIATE_RQ:
            contexts.append(item_codec.read_context(value))
        elif item_type == 0x21 and pdu_type == ASSOCIATE_AC:
            results.append(item_codec.read_result(value))
        elif item_type == 0x50 and information is None:
            information = item_codec.read_user_information(value)
        else:
            unknown.append(UnknownItem(item_type, value.rest()))
    common = (information or UserInformation(()), application_context or "", protocol_version, tuple(unknown))
    tolerated = tuple(cursor.reading.tolerated.values())
    if pdu_type == ASSOCIATE_RQ:
        return AssociateRQ(called, calling, tuple(contexts), *common, tolerated)
    return AssociateAC(called, calling, tuple(results), *common, tolerated)


def _write_associate(pdu_type: int, pdu: AssociateRQ | AssociateAC, contexts: Iterable[bytes]) -> bytes:
    return _write(
        pdu_type,
        u16(pdu.protocol_version, "Protocol-version"),
        b"\0\0",
        text(pdu.called_ae_title, "Called-AE-title", AE_TITLE_LENGTH),
        text(pdu.calling_ae_title, "Calling-AE-title", AE_TITLE_LENGTH),
        bytes(32),
        item(0x10, uid(pdu.application_context, "Application-context-name")),
        *contexts,
        item_codec.write_user_information(pdu.user_information),
        *(item(unknown.item_type, unknown.data) for unknown in pdu.unknown_items),
    )
