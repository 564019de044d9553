"""Audit messages (PS3.15 A.5.1) as plain records, and their XML."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from xml.etree import ElementTree

from aiodimse.record import record

# Characters that XML 1.0 cannot contain, not even escaped. A peer may put them into an AE title.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@record(frozen=True)
class Code:
    """A coded value, as in PS3.15 A.5.1."""

    code: str
    scheme: str
    meaning: str


def dcm(code: str, meaning: str) -> Code:
    """Return a code of the DICOM controlled terminology (PS3.16 D)."""
    return Code(code, "DCM", meaning)


APPLICATION_ACTIVITY = dcm("110100", "Application Activity")
BEGIN_TRANSFERRING = dcm("110102", "Begin Transferring DICOM Instances")
INSTANCES_TRANSFERRED = dcm("110104", "DICOM Instances Transferred")
QUERY = dcm("110112", "Query")
SECURITY_ALERT = dcm("110113", "Security Alert")
APPLICATION_START = dcm("110120", "Application Start")
APPLICATION_STOP = dcm("110121", "Application Stop")
NODE_AUTHENTICATION = dcm("110126", "Node Authentication")
APPLICATION = dcm("110150", "Application")
DESTINATION = dcm("110152", "Destination Role ID")
SOURCE = dcm("110153", "Source Role ID")
STUDY_UID = dcm("110180", "Study Instance UID")
SOP_CLASS_UID = dcm("110181", "SOP Class UID")
NODE_ID = dcm("110182", "Node ID")
PATIENT_NUMBER = Code("2", "RFC-3881", "Patient Number")

SUCCESS, MINOR_FAILURE, SERIOUS_FAILURE, MAJOR_FAILURE = 0, 4, 8, 12
"""The values of Event Outcome Indicator (PS3.15 A.5.2)."""


@record(frozen=True)
class Participant:
    """An active participant: a person or a process that takes part in the event."""

    user_id: str
    """The identity of the process or person."""
    roles: tuple[Code, ...] = ()
    is_requestor: bool = False
    """Whether this participant asked for what happened."""
    alternative_user_id: str | None = None
    """AE titles, as "AETITLES=A;B" (PS3.15 A.5.2.2)."""
    network_access_point: str | None = None
    """An IP address; None if there is none."""


@record(frozen=True)
class ParticipantObject:
    """An object that the event concerns: a study, a patient, a query or a node."""

    object_id: str = field(repr=False)
    id_type: Code
    type_code: int | None = None
    """1: person, 2: system object."""
    role: int | None = None
    """1: patient, 3: report (used for studies and queries)."""
    name: str | None = field(default=None, repr=False)
    query: bytes | None = field(default=None, repr=False)
    """The encoded Identifier of a query. An object has a name or a query; without either, its name is empty."""
    details: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    sop_classes: Mapping[str, int] = field(default_factory=dict)
    """The number of instances of each SOP class."""


@record(frozen=True)
class Message:
    """An audit message: what happened, who took part, who reports it and what it concerns."""

    event_id: Code
    action: str
    """C: create, R: read, U: update, D: delete, E: execute."""
    time: datetime
    """When the event happened, with a time zone."""
    outcome: int
    participants: tuple[Participant, ...]
    source_id: str
    event_types: tuple[Code, ...] = ()
    outcome_description: str | None = None
    site_id: str | None = None
    objects: tuple[ParticipantObject, ...] = ()

    def xml(self) -> bytes:
        """Return the message in the schema of PS3.15 A.5.1, in UTF-8 and on one line."""
        root = ElementTree.Element("AuditMessage")
        event = _element(
            root,
            "EventIdentification",
            EventActionCode=self.action,
            EventDateTime=self.time.isoformat(timespec="milliseconds"),
            EventOutcomeIndicator=str(self.outcome),
        )
        _code(event, "EventID", self.event_id)
        for each in self.event_types:
            _code(event, "EventTypeCode", each)
        if self.outcome_description is not None:
            _element(event, "EventOutcomeDescription").text = _text(self.outcome_description)
        for participant in self.participants:
            _participant(root, participant)
        source = _element(
            root, "AuditSourceIdentification", AuditEnterpriseSiteID=self.site_id, AuditSourceID=self.source_id
        )
        _element(source, "AuditSourceTypeCode", **{"csd-code": "4"})  # an application server process
        for concerned in self.objects:
            _object(root, concerned)
        encoded: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=False)
        # Line ends of values: those in attributes are written so already.
        return encoded.replace(b"\r", b"&#13;").replace(b"\n", b"&#10;")


def _participant(root: ElementTree.Element, participant: Participant) -> None:
    element = _element(
        root,
        "ActiveParticipant",
        UserID=participant.user_id,
        AlternativeUserID=participant.alternative_user_id,
        UserIsRequestor="true" if participant.is_requestor else "false",
        NetworkAccessPointID=participant.network_access_point,
        NetworkAccessPointTypeCode=None if participant.network_access_point is None else "2",
    )
    for role in participant.roles:
        _code(element, "RoleIDCode", role)


def _object(root: ElementTree.Element, concerned: ParticipantObject) -> None:
    element = _element(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=concerned.object_id,
        ParticipantObjectTypeCode=None if concerned.type_code is None else str(concerned.type_code),
        ParticipantObjectTypeCodeRole=None if concerned.role is None else str(concerned.role),
    )
    _code(element, "ParticipantObjectIDTypeCode", concerned.id_type)
    if concerned.query is not None:
        _element(element, "ParticipantObjectQuery").text = base64.b64encode(concerned.query).decode("ascii")
    else:
        _element(element, "ParticipantObjectName").text = _text(concerned.name or "")
    for kind, value in concerned.details.items():
        _element(element, "ParticipantObjectDetail", type=kind, value=base64.b64encode(value).decode("ascii"))
    if concerned.sop_classes:
        description = _element(element, "ParticipantObjectDescription")
        for uid, number in concerned.sop_classes.items():
            _element(description, "SOPClass", UID=uid, NumberOfInstances=str(number))


def _code(parent: ElementTree.Element, name: str, code: Code) -> None:
    _element(parent, name, **{"csd-code": code.code, "codeSystemName": code.scheme, "originalText": code.meaning})


def _element(parent: ElementTree.Element, name: str, **attributes: str | None) -> ElementTree.Element:
    given = {key: _text(value) for key, value in attributes.items() if value is not None}
    return ElementTree.SubElement(parent, name, given)


def _text(text: str) -> str:
    return _NO_XML.sub("?", text)
