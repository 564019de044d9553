"""The items of A-ASSOCIATE-RQ and -AC: what they say (PS3.8 9.3.2, 9.3.3, Annex D; PS3.7 D.3.3).

Their bytes are read and written in item_codec.py.

UserInformation keeps its sub-items in the order in which they came and finds them by type: no significance is in the
order (PS3.8 9.3.2.3, whose note adds that old peers may want ascending types; so whoever builds one keeps to that).
"""

from collections.abc import Iterator
from dataclasses import field
from typing import TypeAlias, TypeVar

from aiodimse.record import record
from aiodimse.standard.service_class import BOUND_TO_ROLE, NOTIFICATIONS

# --- presentation contexts --------------------------------------------------------------------------------------------


@record
class ProposedContext:
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


@record
class ContextResult:
    """Presentation Context Item of an A-ASSOCIATE-AC (PS3.8 9.3.3.2)."""

    context_id: int
    result: int
    """0 acceptance, 1 user-rejection, 2 no-reason (provider rejection), 3 abstract-syntax-not-supported, 4
    transfer-syntaxes-not-supported."""
    transfer_syntax: str
    """Not significant unless result is 0; empty where the peer sent none."""

    def __str__(self) -> str:
        return f"{self.context_id} result {self.result} {self.transfer_syntax}"


@record(frozen=True)
class AcceptedContext:
    """A presentation context that both sides agreed on. Never on the wire: it is what an RQ and an AC settle."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str
    scu: bool
    """We may be service class user in it."""
    scp: bool
    """We may be service class provider in it."""
    assumed: bool = field(default=False, repr=False, compare=False)
    """The peer sent no role item where one is due: what needs the other role is tolerated (`ROLE_ITEM_MISSING`)."""

    def may_invoke(self, service: str) -> bool:
        """Whether we have the role that invokes a DIMSE service: SCU, or for N-EVENT-REPORT SCP.

        Args:
            service: The name of the service, as in "C-FIND".
        """
        return (self.scp if service in NOTIFICATIONS else self.scu) or (self.assumed and service in BOUND_TO_ROLE)

    def may_perform(self, service: str) -> bool:
        """Whether we have the role that performs a DIMSE service: SCP, or for N-EVENT-REPORT SCU.

        Args:
            service: The name of the service, as in "C-FIND".
        """
        return (self.scu if service in NOTIFICATIONS else self.scp) or (self.assumed and service in BOUND_TO_ROLE)

    def assumes_to_invoke(self, service: str) -> bool:
        """Whether we may invoke a service only because the peer sent no SCP/SCU Role Selection Sub-Item for it.

        Args:
            service: The name of the service, as in "C-FIND".
        """
        return self.assumed and service in BOUND_TO_ROLE and not (self.scp if service in NOTIFICATIONS else self.scu)

    def assumes_to_perform(self, service: str) -> bool:
        """Whether we may perform a service only because the peer sent no SCP/SCU Role Selection Sub-Item for it.

        Args:
            service: The name of the service, as in "C-FIND".
        """
        return self.assumed and service in BOUND_TO_ROLE and not (self.scu if service in NOTIFICATIONS else self.scp)

    def __str__(self) -> str:
        roles = "+".join(name for name, held in (("SCU", self.scu), ("SCP", self.scp)) if held)
        return f"{self.context_id} {self.abstract_syntax} {self.transfer_syntax} {roles or 'no role'}"


# --- user information -------------------------------------------------------------------------------------------------


@record
class MaximumLength:
    """The longest P-DATA-TF variable field that its sender takes; 0 is no limit (PS3.8 D.1)."""

    value: int


@record
class ImplementationClassUID:
    """PS3.7 D.3.3.2.1."""

    value: str


@record
class ImplementationVersionName:
    """PS3.7 D.3.3.2.3; 1 to 16 characters, what a peer sends is not checked."""

    value: str


@record
class OperationsWindow:
    """Asynchronous operations window: outstanding operations, 0 is no limit (PS3.7 D.3.3.3)."""

    invoked: int
    """In an RQ: those that the requestor may invoke. In an AC: the same, answered."""
    performed: int
    """In an RQ: those that the requestor will perform for the acceptor."""


@record
class RoleSelection:
    """SCP/SCU role selection (PS3.7 D.3.3.4); the roles are those of the association requestor, in RQ and AC."""

    sop_class_uid: str
    scu: bool
    scp: bool


@record
class ExtendedNegotiation:
    """SOP class extended negotiation (PS3.7 D.3.3.5); info means what the service class says."""

    sop_class_uid: str
    info: bytes


@record(frozen=True)
class CommonExtendedNegotiation:
    """SOP class common extended negotiation (PS3.7 D.3.3.6)."""

    sop_class_uid: str
    service_class_uid: str
    related: tuple[str, ...] = ()
    """Related general SOP class UIDs."""


@record(frozen=True)
class UserIdentityRequest:
    """User identity negotiation of an RQ (PS3.7 D.3.3.7.1). Both fields may be secret: neither is in the repr."""

    identity_type: int
    """1 user name, 2 user name and passcode, 3 Kerberos service ticket, 4 SAML assertion, 5 JSON Web Token."""
    positive_response_requested: bool
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)
    """The passcode, with type 2 only."""


@record
class UserIdentityResponse:
    """User identity negotiation of an AC (PS3.7 D.3.3.7.2)."""

    server_response: bytes = field(default=b"", repr=False)


@record
class UnknownItem:
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


@record
class UserInformation:
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
