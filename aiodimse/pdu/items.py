"""The items of A-ASSOCIATE-RQ and -AC: what they say (PS3.8 9.3.2, 9.3.3, Annex D; PS3.7 D.3.3).

UserInformation keeps its sub-items in the order in which they came and finds them by type: no significance is in the
order (PS3.8 9.3.2.3, whose note adds that old peers may want ascending types; so whoever builds one keeps to that).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from aiodimse.pdu.cursor import Cursor, fixed, item, sized, text, u8, u16, u32, uid
from aiodimse.record import Record
from aiodimse.standard.service_class import NOTIFICATIONS

# --- presentation contexts --------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False, repr=False)
class ProposedContext(Record):
    """Presentation Context Item of an A-ASSOCIATE-RQ (PS3.8 9.3.2.2)."""

    context_id: int
    """Odd, 1 to 255; what a peer sends is not checked here."""
    abstract_syntax: str
    """A SOP class UID; empty where the peer sent none."""
    transfer_syntaxes: tuple[str, ...]
    reserved: bytes = field(default=b"\0\0\0", repr=False, compare=False)
    """Zeros, not tested when received. Kept only so that a recording is written as it was read: DCMTK 3.6.7 and Orthanc
    1.10.1 send 00 FF 00, the second byte being where the A-ASSOCIATE-AC has its result."""

    def __str__(self) -> str:
        return f"{self.context_id} {self.abstract_syntax} [{' '.join(self.transfer_syntaxes)}]"


@dataclass(slots=True, eq=False, repr=False)
class ContextResult(Record):
    """Presentation Context Item of an A-ASSOCIATE-AC (PS3.8 9.3.3.2)."""

    context_id: int
    result: int
    """0 acceptance, 1 user-rejection, 2 no-reason (provider rejection), 3 abstract-syntax-not-supported, 4
    transfer-syntaxes-not-supported."""
    transfer_syntax: str
    """Not significant unless result is 0; empty where the peer sent none."""

    def __str__(self) -> str:
        return f"{self.context_id} result {self.result} {self.transfer_syntax}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AcceptedContext(Record):
    """A presentation context that both sides agreed on. Never on the wire: it is what an RQ and an AC settle."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str
    scu: bool
    """We may be service class user in it."""
    scp: bool
    """We may be service class provider in it."""

    def may_invoke(self, service: str) -> bool:
        """Whether we have the role from which this DIMSE service is asked for: SCU; of a notification SCP."""
        return self.scp if service in NOTIFICATIONS else self.scu

    def may_perform(self, service: str) -> bool:
        """Whether we have the role in which it is answered: SCP; of a notification SCU."""
        return self.scu if service in NOTIFICATIONS else self.scp

    def __str__(self) -> str:
        roles = "+".join(name for name, held in (("SCU", self.scu), ("SCP", self.scp)) if held)
        return f"{self.context_id} {self.abstract_syntax} {self.transfer_syntax} {roles or 'no role'}"


# --- user information -------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False, repr=False)
class MaximumLength(Record):
    """The longest P-DATA-TF variable field that its sender takes; 0 is no limit (PS3.8 D.1)."""

    value: int


@dataclass(slots=True, eq=False, repr=False)
class ImplementationClassUID(Record):
    """PS3.7 D.3.3.2.1."""

    value: str


@dataclass(slots=True, eq=False, repr=False)
class ImplementationVersionName(Record):
    """PS3.7 D.3.3.2.3; 1 to 16 characters, what a peer sends is not checked."""

    value: str


@dataclass(slots=True, eq=False, repr=False)
class OperationsWindow(Record):
    """Asynchronous operations window: outstanding operations, 0 is no limit (PS3.7 D.3.3.3)."""

    invoked: int
    """In an RQ: those that the requestor may invoke. In an AC: the same, answered."""
    performed: int
    """In an RQ: those that the requestor will perform for the acceptor."""


@dataclass(slots=True, eq=False, repr=False)
class RoleSelection(Record):
    """SCP/SCU role selection (PS3.7 D.3.3.4); the roles are those of the association requestor, in RQ and AC."""

    sop_class_uid: str
    scu: bool
    scp: bool


@dataclass(slots=True, eq=False, repr=False)
class ExtendedNegotiation(Record):
    """SOP class extended negotiation (PS3.7 D.3.3.5); info means what the service class says."""

    sop_class_uid: str
    info: bytes


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CommonExtendedNegotiation(Record):
    """SOP class common extended negotiation (PS3.7 D.3.3.6)."""

    sop_class_uid: str
    service_class_uid: str
    related: tuple[str, ...] = ()
    """Related general SOP class UIDs."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class UserIdentityRequest(Record):
    """User identity negotiation of an RQ (PS3.7 D.3.3.7.1). Both fields may be secret: neither is in the repr."""

    identity_type: int
    """1 user name, 2 user name and passcode, 3 Kerberos service ticket, 4 SAML assertion, 5 JSON Web Token."""
    positive_response_requested: bool
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)
    """The passcode, with type 2 only."""


@dataclass(slots=True, eq=False, repr=False)
class UserIdentityResponse(Record):
    """User identity negotiation of an AC (PS3.7 D.3.3.7.2)."""

    server_response: bytes = field(default=b"", repr=False)


@dataclass(slots=True, eq=False, repr=False)
class UnknownItem(Record):
    """An item or sub-item that we do not know: skipped, as PS3.8 D.2 asks, but kept for the record."""

    item_type: int
    data: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"item {self.item_type:02X}H, {len(self.data)} bytes"


UserSubItem: TypeAlias = (
    MaximumLength
    | ImplementationClassUID
    | ImplementationVersionName
    | OperationsWindow
    | RoleSelection
    | ExtendedNegotiation
    | CommonExtendedNegotiation
    | UserIdentityRequest
    | UserIdentityResponse
    | UnknownItem
)

_S = TypeVar("_S")


@dataclass(slots=True, eq=False, repr=False)
class UserInformation(Record):
    """User Information Item (PS3.8 9.3.2.3): sub-items in wire order. Where one that should be alone repeats, the first
    counts; for the ones per SOP class the last counts."""

    sub_items: tuple[UserSubItem, ...] = ()

    def _all(self, kind: type[_S]) -> Iterator[_S]:
        return (item for item in self.sub_items if isinstance(item, kind))

    def _first(self, kind: type[_S]) -> _S | None:
        return next(self._all(kind), None)

    @property
    def maximum_length(self) -> int | None:
        """None where the sub-item is missing; 0 is no limit."""
        found = self._first(MaximumLength)
        return found.value if found else None

    @property
    def implementation_class_uid(self) -> str | None:
        found = self._first(ImplementationClassUID)
        return found.value if found else None

    @property
    def implementation_version_name(self) -> str | None:
        found = self._first(ImplementationVersionName)
        return found.value if found else None

    @property
    def operations_window(self) -> OperationsWindow | None:
        return self._first(OperationsWindow)

    @property
    def roles(self) -> dict[str, RoleSelection]:
        """By SOP class UID."""
        return {item.sop_class_uid: item for item in self._all(RoleSelection)}

    @property
    def extended(self) -> dict[str, bytes]:
        """Service-class-application-information by SOP class UID."""
        return {item.sop_class_uid: item.info for item in self._all(ExtendedNegotiation)}

    @property
    def common_extended(self) -> tuple[CommonExtendedNegotiation, ...]:
        return tuple(self._all(CommonExtendedNegotiation))

    @property
    def user_identity(self) -> UserIdentityRequest | None:
        return self._first(UserIdentityRequest)

    @property
    def user_identity_response(self) -> UserIdentityResponse | None:
        return self._first(UserIdentityResponse)


# --- bytes ------------------------------------------------------------------------------------------------------------

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
"""Every item type of PS3.8 9.3 and Annex D and of PS3.7 D.3.3."""


def read_context(cursor: Cursor) -> ProposedContext:
    context_id = cursor.u8("Presentation-context-ID")
    reserved = cursor.take(3, "Reserved")
    abstract_syntax, transfer_syntaxes = _read_syntaxes(cursor)
    return ProposedContext(context_id, abstract_syntax, transfer_syntaxes, reserved)


def write_context(context: ProposedContext) -> bytes:
    return item(
        0x20,
        u8(context.context_id, "Presentation-context-ID"),
        fixed(context.reserved, 3, "Reserved"),
        item(0x30, uid(context.abstract_syntax, "Abstract-syntax-name")),
        *(item(0x40, uid(syntax, "Transfer-syntax-name")) for syntax in context.transfer_syntaxes),
    )


def read_result(cursor: Cursor) -> ContextResult:
    context_id = cursor.u8("Presentation-context-ID")
    cursor.take(1, "Reserved")
    result = cursor.u8("Result/Reason")
    cursor.take(1, "Reserved")
    _, transfer_syntaxes = _read_syntaxes(cursor)
    return ContextResult(context_id, result, transfer_syntaxes[0] if transfer_syntaxes else "")


def write_result(result: ContextResult) -> bytes:
    return item(
        0x21,
        u8(result.context_id, "Presentation-context-ID"),
        b"\0",
        u8(result.result, "Result/Reason"),
        b"\0",
        item(0x40, uid(result.transfer_syntax, "Transfer-syntax-name")),
    )


def _read_syntaxes(cursor: Cursor) -> tuple[str, tuple[str, ...]]:
    """Abstract and transfer syntaxes in any order; the first abstract syntax counts, other sub-items are skipped."""
    abstract, transfer = "", []
    for item_type, value in cursor.items(NAMES):
        if item_type == 0x30:
            abstract = abstract or value.uid(value.left, "Abstract-syntax-name")
        elif item_type == 0x40:
            transfer.append(value.uid(value.left, "Transfer-syntax-name"))
    return abstract, tuple(transfer)


def read_user_information(cursor: Cursor) -> UserInformation:
    sub_items = []
    for item_type, value in cursor.items(NAMES):
        sub_items.append(_read_sub_item(item_type, value))
        value.done()
    return UserInformation(tuple(sub_items))


def write_user_information(information: UserInformation) -> bytes:
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
