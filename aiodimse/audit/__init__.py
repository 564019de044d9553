"""An audit trail: who did what, as the messages of PS3.15 A.5, to a file or to a syslog collector over TLS.

    from aiodimse import audit

    collector = audit.SyslogTLS("audit.hospital.example", 6514, ssl=context)
    async with audit.AuditTrail("ARCHIVE-1", collector, ae_titles=["ARCHIVE"]) as trail:
        server = aiodimse.Server(ae_title="ARCHIVE", metrics=trail.metrics())
        ...

Nothing here waits for the collector: messages wait in a bounded queue, and what does not fit is counted and dropped.
Patient IDs and study UIDs are in the messages for which the profile demands them, and nowhere else.
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
