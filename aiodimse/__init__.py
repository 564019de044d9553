"""An asyncio-native DICOM network stack."""

from aiodimse import tls
from aiodimse.association import ExtendedQuery, ExtendedRetrieve, PresentationContext
from aiodimse.client import Association, connect, contexts_for
from aiodimse.config import Limits, Timeouts
from aiodimse.dimse.status import Status
from aiodimse.errors import (
    AiodimseError,
    AssociationAborted,
    AssociationClosed,
    AssociationError,
    AssociationRejected,
    AssociationTimeout,
    DatasetDecodeError,
    DatasetEncodeError,
    DatasetTooLarge,
    DIMSEFailure,
    NoAcceptedContext,
    NotDICOM,
    ProtocolError,
    TLSError,
)
from aiodimse.instances import charsets
from aiodimse.pdu import CommonExtendedNegotiation, UserIdentityRequest
from aiodimse.server import AssociationRequest, Server
from aiodimse.services.destination import Destination
from aiodimse.services.instance import Instance, remove_unfinished
from aiodimse.services.response import EncodedDataset, Progress, Response
from aiodimse.standard import sop_class
from aiodimse.standard.status import Category

__version__ = "0.1.0"

__all__ = [
    "AiodimseError",
    "Association",
    "AssociationAborted",
    "AssociationClosed",
    "AssociationError",
    "AssociationRejected",
    "AssociationRequest",
    "AssociationTimeout",
    "Category",
    "CommonExtendedNegotiation",
    "DIMSEFailure",
    "DatasetDecodeError",
    "DatasetEncodeError",
    "DatasetTooLarge",
    "Destination",
    "EncodedDataset",
    "ExtendedQuery",
    "ExtendedRetrieve",
    "Instance",
    "Limits",
    "NoAcceptedContext",
    "NotDICOM",
    "PresentationContext",
    "Progress",
    "ProtocolError",
    "Response",
    "Server",
    "Status",
    "TLSError",
    "Timeouts",
    "UserIdentityRequest",
    "charsets",
    "connect",
    "contexts_for",
    "remove_unfinished",
    "sop_class",
    "tls",
]
