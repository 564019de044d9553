"""An audit trail: messages of PS3.15 A.5 about who did what, written to a file or sent to a syslog collector over TLS.

    from aiodimse import audit

    collector = audit.SyslogTLS("audit.hospital.example", 6514, ssl=context)
    async with audit.AuditTrail("ARCHIVE-1", collector, ae_titles=["ARCHIVE"]) as trail:
        server = aiodimse.Server(ae_title="ARCHIVE", metrics=trail.metrics())
        ...

No operation waits for the collector. Messages wait in a bounded queue; those that do not fit are counted and dropped.
Patient IDs and study UIDs are only in those messages for which the profile demands them.
"""

from .message import Code, Message, Participant, ParticipantObject
from .syslog import FileSink, Sink, SyslogTLS
from .trail import AuditTrail, TransferredStudy

__all__ = [
    "AuditTrail",
    "Code",
    "FileSink",
    "Message",
    "Participant",
    "ParticipantObject",
    "Sink",
    "SyslogTLS",
    "TransferredStudy",
]
