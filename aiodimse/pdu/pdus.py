"""The seven PDUs of PS3.8 9.3 as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from aiodimse.pdu.items import ContextResult, ProposedContext, UnknownItem, UserInformation

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
"""The DICOM application context name, the only one there is (PS3.7 A.2.1)."""


def _parties(pdu: AssociateRQ | AssociateAC) -> str:
    # repr escapes what a peer may have hidden in a title
    value = pdu.user_information.maximum_length
    length = "absent" if value is None else str(value)
    return f"{pdu.calling_ae_title!r} -> {pdu.called_ae_title!r}, maximum length {length}"


@dataclass(frozen=True, slots=True)
class AssociateRQ:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2). AE titles are without padding; what is missing on the wire is empty here."""

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[ProposedContext, ...]
    user_information: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1
    """Only bit 0 is tested (PS3.8 9.3.2)."""
    unknown_items: tuple[UnknownItem, ...] = ()

    def __str__(self) -> str:
        return f"A-ASSOCIATE-RQ {_parties(self)}, {len(self.contexts)} contexts"


@dataclass(frozen=True, slots=True)
class AssociateAC:
    """A-ASSOCIATE-AC (PS3.8 9.3.3). The titles are reserved fields that repeat those of the RQ and are not tested."""

    called_ae_title: str
    calling_ae_title: str
    results: tuple[ContextResult, ...]
    user_information: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1
    unknown_items: tuple[UnknownItem, ...] = ()

    def __str__(self) -> str:
        accepted = sum(result.result == 0 for result in self.results)
        return f"A-ASSOCIATE-AC {_parties(self)}, {accepted} of {len(self.results)} contexts accepted"


@dataclass(frozen=True, slots=True)
class AssociateRJ:
    """A-ASSOCIATE-RJ (PS3.8 9.3.4); the words for its numbers are in standard/reason.py."""

    result: int
    source: int
    reason: int

    def __str__(self) -> str:
        return f"A-ASSOCIATE-RJ {self.result}/{self.source}/{self.reason}"


@dataclass(frozen=True, slots=True)
class PDV:
    """Presentation-data-value Item (PS3.8 9.3.5.1) with its message control header (PS3.8 E.2)."""

    context_id: int
    is_command: bool
    is_last: bool
    data: bytes | memoryview = field(repr=False)

    def __str__(self) -> str:
        kind = "command" if self.is_command else "data"
        return f"{kind}{' last' if self.is_last else ''} in {self.context_id}, {len(self.data)} bytes"


@dataclass(frozen=True, slots=True)
class PDataTF:
    """P-DATA-TF (PS3.8 9.3.5), whole. The reader does not make it: it hands PDVs on before the PDU is complete."""

    pdvs: tuple[PDV, ...]

    def __str__(self) -> str:
        return f"P-DATA-TF {'; '.join(map(str, self.pdvs))}"


@dataclass(frozen=True, slots=True)
class ReleaseRQ:
    """A-RELEASE-RQ (PS3.8 9.3.6)."""

    def __str__(self) -> str:
        return "A-RELEASE-RQ"


@dataclass(frozen=True, slots=True)
class ReleaseRP:
    """A-RELEASE-RP (PS3.8 9.3.7)."""

    def __str__(self) -> str:
        return "A-RELEASE-RP"


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT (PS3.8 9.3.8): source 0 service-user, 2 service-provider; the reason means something from source 2."""

    source: int
    reason: int

    def __str__(self) -> str:
        return f"A-ABORT {self.source}/{self.reason}"


PDU: TypeAlias = AssociateRQ | AssociateAC | AssociateRJ | PDataTF | ReleaseRQ | ReleaseRP | Abort
