"""An asyncio-native DICOM network stack."""

from aiodimse import commitment, tls
from aiodimse.aio.clock import Clock
from aiodimse.aio.environment import Environment
from aiodimse.aio.network import Network
from aiodimse.aio.threads import Threads
from aiodimse.aio.transport import Trace
from aiodimse.association import ExtendedQuery, ExtendedRetrieve, Negotiated, PresentationContext, TitlePolicy
from aiodimse.client import Association
from aiodimse.completeness import Completeness
from aiodimse.config import Limits, Timeouts
from aiodimse.datasets import (
    EncapsulatedFrames,
    FileHead,
    Identity,
    charsets,
    check_frame,
    file_identity,
    identifier,
    is_whole_file,
    read_head,
    read_identity,
)
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
    IncompleteRetrieval,
    InstanceConflict,
    LocalProtocolError,
    NoAcceptedContext,
    NotDICOM,
    ProtocolError,
    RemoteProtocolError,
    TLSError,
)
from aiodimse.metrics import DetailedMetrics, MeasuredAssociation, MeasuredPool, Metrics
from aiodimse.pdu import AcceptedContext, CommonExtendedNegotiation, UserIdentityRequest
from aiodimse.pool import Lease, Pool, PooledOperation, StoreResult
from aiodimse.requestor import Connect, ConnectOptions, connect, contexts_for
from aiodimse.server import Listening, Server
from aiodimse.services.arriving import ArrivingInstance
from aiodimse.services.association import ProviderAssociation
from aiodimse.services.contexts import storage_contexts
from aiodimse.services.instance import Instance, InstanceSource, ReferencedFile
from aiodimse.services.open_moves import MoveReceiver
from aiodimse.services.provider import handler_types
from aiodimse.services.provider.association_request import AssociationRequest
from aiodimse.services.provider.destination import Destination
from aiodimse.services.request import (
    EchoRequest,
    FindRequest,
    GetRequest,
    MoveRequest,
    NormalizedRequest,
    Request,
    StoreRequest,
)
from aiodimse.services.response import EncodedDataset, Identifier, Progress, Reply, Response
from aiodimse.services.serving import RequestHandlers
from aiodimse.services.unfinished import remove_unfinished
from aiodimse.services.user.query import Find
from aiodimse.services.user.received_move import ReceivedMove
from aiodimse.services.user.retrieve import Get, Move
from aiodimse.standard import leniency, sop_class
from aiodimse.standard.status import Category

__version__ = "0.1.0"

__all__ = [
    "AcceptedContext",
    "AiodimseError",
    "ArrivingInstance",
    "Association",
    "AssociationAborted",
    "AssociationClosed",
    "AssociationError",
    "AssociationRejected",
    "AssociationRequest",
    "AssociationTimeout",
    "Category",
    "Clock",
    "CommonExtendedNegotiation",
    "Completeness",
    "Connect",
    "ConnectOptions",
    "DIMSEFailure",
    "DatasetDecodeError",
    "DatasetEncodeError",
    "DatasetTooLarge",
    "Destination",
    "DetailedMetrics",
    "EchoRequest",
    "EncapsulatedFrames",
    "EncodedDataset",
    "Environment",
    "ExtendedQuery",
    "ExtendedRetrieve",
    "FileHead",
    "Find",
    "FindRequest",
    "Get",
    "GetRequest",
    "Identifier",
    "Identity",
    "IncompleteRetrieval",
    "Instance",
    "InstanceConflict",
    "InstanceSource",
    "Lease",
    "Limits",
    "Listening",
    "LocalProtocolError",
    "MeasuredAssociation",
    "MeasuredPool",
    "Metrics",
    "Move",
    "MoveReceiver",
    "MoveRequest",
    "Negotiated",
    "Network",
    "NoAcceptedContext",
    "NormalizedRequest",
    "NotDICOM",
    "Pool",
    "PooledOperation",
    "PresentationContext",
    "Progress",
    "ProtocolError",
    "ProviderAssociation",
    "ReceivedMove",
    "ReferencedFile",
    "RemoteProtocolError",
    "Reply",
    "Request",
    "RequestHandlers",
    "Response",
    "Server",
    "Status",
    "StoreRequest",
    "StoreResult",
    "TLSError",
    "Threads",
    "Timeouts",
    "TitlePolicy",
    "Trace",
    "UserIdentityRequest",
    "charsets",
    "check_frame",
    "commitment",
    "connect",
    "contexts_for",
    "file_identity",
    "handler_types",
    "identifier",
    "is_whole_file",
    "leniency",
    "read_head",
    "read_identity",
    "remove_unfinished",
    "sop_class",
    "storage_contexts",
    "tls",
]


def __dir__() -> list[str]:
    """List the public names, and nothing else that happens to be imported here."""
    return [*__all__, "__version__"]
