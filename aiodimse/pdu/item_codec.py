"""Encodes and decodes the items of A-ASSOCIATE-RQ and -AC (PS3.8 9.3.2, 9.3.3, Annex D; PS3.7 D.3.3).

Each item has a length. If the lengths are consistent, an item that nothing depends on may have wrong fields: it is
skipped, and a `Tolerated` records that. If they are not, the PDU is invalid (Evt19).
"""

from aiodimse.errors import PDUDecodeError
from aiodimse.pdu.cursor import MAX_ITEMS_OF_KIND, PADDING, Cursor, fixed, item, sized, text, u8, u16, u32, uid
from aiodimse.pdu.items import (
    CommonExtendedNegotiation,
    ContextResult,
    ExtendedNegotiation,
    ImplementationClassUID,
    ImplementationVersionName,
    MaximumLength,
    OperationsWindow,
    ProposedContext,
    RoleSelection,
    UnknownItem,
    UserIdentityRequest,
    UserIdentityResponse,
    UserInformation,
    UserSubItem,
)
from aiodimse.standard import leniency
from aiodimse.standard.values import UID_LENGTH

NAMES = {
    0x10: "Application Context Item",
    0x20: "Presentation Context Item (RQ)",
    0x21: "Presentation Context Item (AC)",
    0x30: "Abstract Syntax Sub-Item",
    0x40: "Transfer Syntax Sub-Item",
    0x50: "User Information Item",
    0x51: "Maximum Length Sub-Item",
    0x52: "Implementation Class UID Sub-Item",
    0x53: "Asynchronous Operations Window Sub-Item",
    0x54: "SCP/SCU Role Selection Sub-Item",
    0x55: "Implementation Version Name Sub-Item",
    0x56: "SOP Class Extended Negotiation Sub-Item",
    0x57: "SOP Class Common Extended Negotiation Sub-Item",
    0x58: "User Identity Sub-Item (RQ)",
    0x59: "User Identity Sub-Item (AC)",
}
"""The name of every item type of PS3.8 9.3 and Annex D and of PS3.7 D.3.3."""


_USER_IDENTITY = (0x58, 0x59)
"""The types of sub-items that are never skipped, since the identity of the peer depends on them."""


def read_context(cursor: Cursor) -> ProposedContext:
    """Read a Presentation Context Item of an A-ASSOCIATE-RQ."""
    context_id = cursor.u8("Presentation-context-ID")
    reserved = cursor.take(3, "Reserved")
    abstract_syntax, transfer_syntaxes = _read_syntaxes(cursor)
    return ProposedContext(context_id, abstract_syntax, transfer_syntaxes, reserved)


def write_context(context: ProposedContext) -> bytes:
    """Encode a Presentation Context Item of an A-ASSOCIATE-RQ."""
    return item(
        0x20,
        u8(context.context_id, "Presentation-context-ID"),
        fixed(context.reserved, 3, "Reserved"),
        item(0x30, uid(context.abstract_syntax, "Abstract-syntax-name")),
        *(item(0x40, uid(syntax, "Transfer-syntax-name")) for syntax in context.transfer_syntaxes),
    )


def read_result(cursor: Cursor) -> ContextResult:
    """Read a Presentation Context Item of an A-ASSOCIATE-AC."""
    context_id = cursor.u8("Presentation-context-ID")
    cursor.take(1, "Reserved")
    result = cursor.u8("Result/Reason")
    cursor.take(1, "Reserved")
    _, transfer_syntaxes = _read_syntaxes(cursor)
    return ContextResult(context_id, result, transfer_syntaxes[0] if transfer_syntaxes else "")


def write_result(result: ContextResult) -> bytes:
    """Encode a Presentation Context Item of an A-ASSOCIATE-AC."""
    return item(
        0x21,
        u8(result.context_id, "Presentation-context-ID"),
        b"\0",
        u8(result.result, "Result/Reason"),
        b"\0",
        item(0x40, uid(result.transfer_syntax, "Transfer-syntax-name")),
    )


def _read_syntaxes(cursor: Cursor) -> tuple[str, tuple[str, ...]]:
    """Read the abstract syntax and the transfer syntaxes of a context, which may come in any order.

    The first abstract syntax counts, and other sub-items are skipped. If one of the UIDs is not valid, both results are
    empty: that context is then refused, and the others are not affected.
    """
    abstract, transfer, fault = "", [], None
    for item_type, start, stop in cursor.spans(NAMES):
        if item_type == 0x40:  # A PDU can have thousands of transfer syntaxes: no cursor is made for one that is valid.
            raw = cursor.between(start, stop).strip(PADDING)
            if len(raw) <= UID_LENGTH and raw.isascii():
                transfer.append(raw.decode("ascii"))
                continue
        value = cursor.item(item_type, start, stop, NAMES)
        try:
            if item_type == 0x30:
                abstract = abstract or value.uid(value.left, "Abstract-syntax-name")
            elif item_type == 0x40:
                transfer.append(value.uid(value.left, "Transfer-syntax-name"))
        except PDUDecodeError as error:
            fault = fault or error
    if fault is not None:
        cursor.reading.tolerate(leniency.CONTEXT_UID, fault)
        return "", ()
    return abstract, tuple(transfer)


def read_user_information(cursor: Cursor) -> UserInformation:
    """Read a User Information Item."""
    sub_items = []
    for item_type, value in cursor.items(NAMES, MAX_ITEMS_OF_KIND):
        try:
            sub_item = _read_sub_item(item_type, value)
            value.done()
        except PDUDecodeError as error:
            if item_type in _USER_IDENTITY:
                raise
            value.reading.tolerate(leniency.ASSOCIATE_SUB_ITEM, error)
            sub_item = UnknownItem(item_type, value.whole())
        sub_items.append(sub_item)
    return UserInformation(tuple(sub_items))


def write_user_information(information: UserInformation) -> bytes:
    """Encode a User Information Item."""
    return item(0x50, *map(_write_sub_item, information.sub_items))


def _read_sub_item(item_type: int, c: Cursor) -> UserSubItem:
    match item_type:
        case 0x51:
            return MaximumLength(c.u32("Maximum-length-received"))
        case 0x52:
            return ImplementationClassUID(c.uid(c.left, "Implementation-class-uid"))
        case 0x53:
            return OperationsWindow(
                c.u16("Maximum-number-operations-invoked"), c.u16("Maximum-number-operations-performed")
            )
        case 0x54:
            sop_class_uid = c.uid(c.u16("UID-length"), "SOP-class-uid")
            return RoleSelection(sop_class_uid, c.u8("SCU-role") != 0, c.u8("SCP-role") != 0)
        case 0x55:
            return ImplementationVersionName(c.text(c.left, "Implementation-version-name"))
        case 0x56:
            return ExtendedNegotiation(c.uid(c.u16("SOP-class-uid-length"), "SOP-class-uid"), c.rest())
        case 0x57:
            return _read_common_extended(c)
        case 0x58:
            return UserIdentityRequest(
                c.u8("User-Identity-Type"),
                c.u8("Positive-response-requested") != 0,
                c.take(c.u16("Primary-field-length"), "Primary-field"),
                c.take(c.u16("Secondary-field-length"), "Secondary-field"),
            )
        case 0x59:
            return UserIdentityResponse(c.take(c.u16("Server-response-length"), "Server-response"))
    return UnknownItem(item_type, c.rest())  # to be ignored, PS3.8 D.2


def _read_common_extended(c: Cursor) -> CommonExtendedNegotiation:
    sop_class_uid = c.uid(c.u16("SOP-class-uid-length"), "SOP-class-uid")
    service_class_uid = c.uid(c.u16("Service-class-uid-length"), "Service-class-uid")
    size = c.u16("Related-general-sop-class-identification-length")
    if size > c.left:
        raise c.error(f"{size} bytes announced, {c.left} left", "Related-general-sop-class-identification-length")
    end, related = c.at + size, []
    while c.at < end:
        related.append(c.uid(c.u16("Related-general-sop-class-uid-length"), "Related-general-sop-class-uid"))
    if c.at > end:
        raise c.error("past the end of the identification", "Related-general-sop-class-uid", end)
    c.rest()  # reserved for fields of later versions of this sub-item (PS3.7 D.3.3.6)
    return CommonExtendedNegotiation(sop_class_uid, service_class_uid, tuple(related))


def _write_sub_item(sub_item: UserSubItem) -> bytes:
    match sub_item:
        case MaximumLength(value):
            return item(0x51, u32(value, "Maximum-length-received"))
        case ImplementationClassUID(name):
            return item(0x52, uid(name, "Implementation-class-uid"))
        case OperationsWindow(invoked, performed):
            return item(
                0x53,
                u16(invoked, "Maximum-number-operations-invoked"),
                u16(performed, "Maximum-number-operations-performed"),
            )
        case RoleSelection(name, scu, scp):
            return item(0x54, sized(uid(name, "SOP-class-uid"), "UID"), bytes((scu, scp)))
        case ImplementationVersionName(name):
            return item(0x55, text(name, "Implementation-version-name"))
        case ExtendedNegotiation(name, info):
            return item(0x56, sized(uid(name, "SOP-class-uid"), "SOP-class-uid"), info)
        case CommonExtendedNegotiation(name, service, related):
            field = "Related-general-sop-class-uid"
            return item(
                0x57,
                sized(uid(name, "SOP-class-uid"), "SOP-class-uid"),
                sized(uid(service, "Service-class-uid"), "Service-class-uid"),
                sized(b"".join(sized(uid(each, field), field) for each in related), field),
            )
        case UserIdentityRequest(identity_type, positive, primary, secondary):
            return item(
                0x58,
                u8(identity_type, "User-Identity-Type"),
                bytes((positive,)),
                sized(primary, "Primary-field"),
                sized(secondary, "Secondary-field"),
            )
        case UserIdentityResponse(response):
            return item(0x59, sized(response, "Server-response"))
        case UnknownItem(item_type, data):
            return item(item_type, data)
