"""The service classes of PS3.4: name, annex, and the DIMSE services that each may use."""

from typing import NamedTuple


class ServiceClass(NamedTuple):
    """One annex of PS3.4."""

    name: str
    """The name of the annex without the words Service Class."""
    section: str
    """The annex of PS3.4 that defines it."""
    commands: frozenset[str]
    """Its DIMSE services by their names in PS3.7, as in "C-FIND". A SOP class may have fewer."""

    def __str__(self) -> str:
        return self.name


def _row(name: str, section: str, commands: str) -> ServiceClass:
    return ServiceClass(name, f"PS3.4 {section}", frozenset(commands.split()))


RETRIEVE = "C-FIND C-GET C-MOVE"
NORMALIZED = "N-CREATE N-SET N-GET N-ACTION N-DELETE N-EVENT-REPORT"
NOTIFICATIONS = frozenset(("N-EVENT-REPORT",))
"""The services that the SCP invokes and the SCU performs (PS3.7 10.1.1). All others go the other way."""
BOUND_TO_ROLE = frozenset(("C-STORE", "N-EVENT-REPORT"))
"""The services that a role item can reverse: C-STORE in a C-GET (PS3.4 C.5.3), notifications (PS3.4 J.3.3)."""

# fmt: off
VERIFICATION: ServiceClass               = _row("Verification", "A", "C-ECHO")
STORAGE: ServiceClass                    = _row("Storage", "B", "C-STORE")
QUERY_RETRIEVE: ServiceClass             = _row("Query/Retrieve", "C", RETRIEVE)
PROCEDURE_STEP: ServiceClass             = _row("Modality Performed Procedure Step", "F", "N-CREATE N-SET N-GET N-EVENT-REPORT")
PRINT_MANAGEMENT: ServiceClass           = _row("Print Management", "H", NORMALIZED)
STORAGE_COMMITMENT: ServiceClass         = _row("Storage Commitment", "J", "N-ACTION N-EVENT-REPORT")
BASIC_WORKLIST: ServiceClass             = _row("Basic Worklist Management", "K", "C-FIND")
APPLICATION_EVENT_LOGGING: ServiceClass  = _row("Application Event Logging", "P", "N-ACTION")
RELEVANT_PATIENT_INFORMATION_QUERY: ServiceClass = _row("Relevant Patient Information Query", "Q", "C-FIND")
INSTANCE_AVAILABILITY: ServiceClass      = _row("Instance Availability Notification", "R", "N-CREATE")
MEDIA_CREATION: ServiceClass             = _row("Media Creation Management", "S", "N-CREATE N-ACTION N-GET")
HANGING_PROTOCOL: ServiceClass           = _row("Hanging Protocol Query/Retrieve", "U", RETRIEVE)
SUBSTANCE_ADMINISTRATION: ServiceClass   = _row("Substance Administration Query", "V", "C-FIND")
COLOR_PALETTE: ServiceClass              = _row("Color Palette Query/Retrieve", "X", RETRIEVE)
IMPLANT_TEMPLATE: ServiceClass           = _row("Implant Template Query/Retrieve", "BB", RETRIEVE)
UNIFIED_PROCEDURE_STEP: ServiceClass     = _row("Unified Procedure Step", "CC", "C-FIND " + NORMALIZED)
RT_MACHINE_VERIFICATION: ServiceClass    = _row("RT Machine Verification", "DD", NORMALIZED)
DISPLAY_SYSTEM: ServiceClass             = _row("Display System Management", "EE", "N-GET")
NON_PATIENT_OBJECT: ServiceClass         = _row("Non-Patient Object Storage", "GG", "C-STORE")
DEFINED_PROCEDURE_PROTOCOL: ServiceClass = _row("Defined Procedure Protocol Query/Retrieve", "HH", RETRIEVE)
PROTOCOL_APPROVAL: ServiceClass          = _row("Protocol Approval Query/Retrieve", "II", RETRIEVE)
INVENTORY: ServiceClass                  = _row("Inventory Query/Retrieve", "JJ", RETRIEVE)
STORAGE_MANAGEMENT: ServiceClass         = _row("Storage Management", "KK", NORMALIZED)

# Real-Time Communication (PS3.22) has SOP classes but no DIMSE services. Retired service classes keep their services.
REAL_TIME_COMMUNICATION: ServiceClass    = ServiceClass("Real-Time Communication", "PS3.22", frozenset())
RETIRED: ServiceClass                    = ServiceClass("Retired", "earlier editions of PS3.4", frozenset(NORMALIZED.split()))
# fmt: on

ALL: tuple[ServiceClass, ...] = tuple(value for value in list(globals().values()) if isinstance(value, ServiceClass))
