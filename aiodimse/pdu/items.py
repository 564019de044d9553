"""The items of A-ASSOCIATE-RQ and -AC as plain values (PS3.8 9.3.2, 9.3.3, Annex D; PS3.7 D.3.3).

Their bytes are read and written in item_codec.py. UserInformation keeps its sub-items in the order in which they came.
The order has no significance (PS3.8 9.3.2.3), but its note says that old peers may expect ascending types, so what we
send is in that order.
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
    """A SOP Class UID; empty if the peer sent none."""
    transfer_syntaxes: tuple[str, ...]
    reserved: bytes = field(default=b"\0\0\0", repr=False, compare=False)
    """Reserved bytes, sent as zeros and not tested when received. They are kept so that a recording can be written as
    it was read: DCMTK 3.6.7 and Orthanc 1.10.1 send 00 FF 00, where the second byte is the place of the result in an
    A-ASSOCIATE-AC."""

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
    """Not significant unless `result` is 0; empty if the peer sent none."""

    def __str__(self) -> str:
        return f"{self.context_id} result {self.result} {self.transfer_syntax}"


@record(frozen=True)
class AcceptedContext:
    """A presentation context that both sides agreed on: what the A-ASSOCIATE-RQ and the A-ASSOCIATE-AC say together."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str
    scu: bool
    """Whether we may be the service class user in it."""
    scp: bool
    """Whether we may be the service class provider in it."""
    assumed: bool = field(default=False, repr=False, compare=False)
    """Whether the peer left out a role selection item that is due. Then a service that needs the other role is
    tolerated (`ROLE_ITEM_MISSING`)."""

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
    """The longest P-DATA-TF variable field that its sender accepts; 0 means no limit (PS3.8 D.1)."""

    value: int


@record
class ImplementationClassUID:
    """Implementation Class UID (PS3.7 D.3.3.2.1)."""

    value: str


@record
class ImplementationVersionName:
    """Implementation Version Name (PS3.7 D.3.3.2.3): 1 to 16 characters. The length of what a peer sends is not
    checked."""

    value: str


@record
class OperationsWindow:
    """Asynchronous operations window (PS3.7 D.3.3.3): the most outstanding operations; 0 means no limit."""

    invoked: int
    """How many operations the requestor may invoke. The A-ASSOCIATE-AC answers the same number, or a smaller one."""
    performed: int
    """How many operations the requestor performs for the acceptor."""


@record
class RoleSelection:
    """SCP/SCU role selection (PS3.7 D.3.3.4). The roles are those of the association requestor, also in the
    A-ASSOCIATE-AC."""

    sop_class_uid: str
    scu: bool
    scp: bool


@record
class ExtendedNegotiation:
    """SOP class extended negotiation (PS3.7 D.3.3.5). The service class defines the bytes of `info`."""

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
    """User identity negotiation of an A-ASSOCIATE-RQ (PS3.7 D.3.3.7.1). Both fields may be secret, so the repr shows
    neither."""

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
    """An item or sub-item of an unknown type. It is skipped (PS3.8 D.2), but kept so that a recording is complete."""

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
    """User Information Item (PS3.8 9.3.2.3): its sub-items in the order of the wire.

    If a sub-item that should occur once is repeated, the first one counts. Of sub-items for the same SOP class the last
    one counts.
    """

    sub_items: tuple[UserSubItem, ...] = ()

    def _all(self, kind: type[_S]) -> Iterator[_S]:
        return (item for item in self.sub_items if isinstance(item, kind))

    def _first(self, kind: type[_S]) -> _S | None:
        return next(self._all(kind), None)

    @property
    def maximum_length(self) -> int | None:
        """The Maximum Length Sub-Item; None if it is missing, 0 if there is no limit."""
        found = self._first(MaximumLength)
        return found.value if found else None

    @property
    def implementation_class_uid(self) -> str | None:
        """Implementation Class UID; None if the sub-item is missing."""
        found = self._first(ImplementationClassUID)
        return found.value if found else None

    @property
    def implementation_version_name(self) -> str | None:
        """Implementation Version Name; None if the sub-item is missing."""
        found = self._first(ImplementationVersionName)
        return found.value if found else None

    @property
    def operations_window(self) -> OperationsWindow | None:
        """The asynchronous operations window; None if the sub-item is missing."""
        return self._first(OperationsWindow)

    @property
    def roles(self) -> dict[str, RoleSelection]:
        """The role selection sub-items, by SOP Class UID."""
        return {item.sop_class_uid: item for item in self._all(RoleSelection)}

    @property
    def extended(self) -> dict[str, bytes]:
        """The service-class-application-information, by SOP Class UID."""
        return {item.sop_class_uid: item.info for item in self._all(ExtendedNegotiation)}

    @property
    def common_extended(self) -> tuple[CommonExtendedNegotiation, ...]:
        """The common extended negotiation sub-items."""
        return tuple(self._all(CommonExtendedNegotiation))

    @property
    def user_identity(self) -> UserIdentityRequest | None:
        """The user identity of an A-ASSOCIATE-RQ; None if the sub-item is missing."""
        return self._first(UserIdentityRequest)

    @property
    def user_identity_response(self) -> UserIdentityResponse | None:
        """The user identity response of an A-ASSOCIATE-AC; None if the sub-item is missing."""
        return self._first(UserIdentityResponse)
