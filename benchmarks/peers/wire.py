"""Prepared bytes: an association for C-ECHO and its messages. Their user does no DICOM during the measurement."""

from __future__ import annotations

from aiodimse import pdu
from aiodimse.dimse import CEchoRQ, CEchoRSP, command
from aiodimse.standard.sop_class import Verification

IMPLICIT = "1.2.840.10008.1.2"
INFORMATION = pdu.UserInformation((pdu.MaximumLength(16384), pdu.ImplementationClassUID("1.2.826.0.1.3680043.10.1")))
RELEASE_RQ = pdu.encode(pdu.ReleaseRQ())


def associate(called: str) -> bytes:
    """Make an A-ASSOCIATE-RQ for Verification."""
    context = pdu.ProposedContext(1, Verification, (IMPLICIT,))
    return pdu.encode(pdu.AssociateRQ(called, "LOAD", (context,), INFORMATION))


def accept_all(request: bytes) -> bytes:
    """Make an A-ASSOCIATE-AC that accepts every context with its first transfer syntax."""
    rq = pdu.decode(request)
    assert isinstance(rq, pdu.AssociateRQ)
    results = tuple(pdu.ContextResult(c.context_id, 0, c.transfer_syntaxes[0]) for c in rq.contexts)
    return pdu.encode(pdu.AssociateAC(rq.called_ae_title, rq.calling_ae_title, results, INFORMATION))


def _message(body: bytes) -> bytes:
    return pdu.pdata_header(1, True, True, len(body)) + body


def echo_rq(message_id: int) -> bytes:
    """Make a C-ECHO-RQ."""
    return _message(command.encode(CEchoRQ(message_id=message_id, affected_sop_class_uid=Verification)))


def _echo_rsp(message_id: int) -> bytes:
    response = CEchoRSP(message_id_being_responded_to=message_id, affected_sop_class_uid=Verification, status=0x0000)
    return _message(command.encode(response))


# PS3.7 9.3.5: Message ID (0000,0110), and Message ID Being Responded To (0000,0120), US.
_ID, _ANSWERED = b"\0\0\x10\1\2\0\0\0", b"\0\0\x20\1\2\0\0\0"
_start = echo_rq(1).index(_ID) + len(_ID)
MESSAGE_ID_IN_REQUEST = (_start, _start + 2)
_cut = _echo_rsp(1).index(_ANSWERED) + len(_ANSWERED)
ECHO_BEFORE, ECHO_AFTER = _echo_rsp(1)[:_cut], _echo_rsp(1)[_cut + 2 :]
SUCCESS = b"\0\0\0\x09\2\0\0\0\0\0"
"""Status (0000,0900), US, 0000, as it is encoded in a response."""
