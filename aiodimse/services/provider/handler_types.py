"""The types of handlers, for type checkers: one Protocol for each `on_*` decorator of a Server.

A handler is an async function. Where several answers are allowed it may be an async generator. It takes the request as
its only argument, and is called once for each request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Collection
from typing import Protocol, TypeAlias

from pydicom.dataset import Dataset

from aiodimse.pdu import UserIdentityRequest
from aiodimse.services.association import ProviderAssociation
from aiodimse.services.instance import InstanceSource
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
from aiodimse.services.response import EncodedDataset, Reply

StatusAnswer: TypeAlias = "int | Dataset | Reply"
"""A status: an int or Status, a Reply, or a Dataset with Status (0000,0900). The Dataset may have Error Comment
(0000,0902), Error ID (0000,0903), Offending Element (0000,0901), Affected SOP Instance UID (0000,1000) and Attribute
Identifier List (0000,1005)."""

DatasetAnswer: TypeAlias = "StatusAnswer | EncodedDataset | tuple[int | Dataset, Dataset | EncodedDataset | None]"
"""What a DIMSE-N handler returns: a status, a Reply, a data set (which means Success), or a pair (status, data set)."""

Match: TypeAlias = "int | Dataset | EncodedDataset | tuple[int | Dataset, Dataset | EncodedDataset | None]"
"""What a C-FIND handler yields: a match (which means Pending), a pair (status, match), or the final status."""

Retrieved: TypeAlias = (
    "InstanceSource | EncodedDataset | int | tuple[int | Dataset, InstanceSource | EncodedDataset | None]"
)
"""What a C-GET handler yields: first the number of instances as an int, then each instance, alone or in a pair (status,
instance). It may end with a final status; otherwise the counters determine it."""

Moved: TypeAlias = "Destination | tuple[str, int] | Retrieved | None"
"""What a C-MOVE handler yields: first a Destination or (host, port), or None if the AE title is not known; then the
same as a C-GET handler."""


class EchoHandler(Protocol):
    """`async def echo(request: EchoRequest) -> int | None`; None means Success."""

    def __call__(self, request: EchoRequest, /) -> Awaitable[StatusAnswer | None]:
        """Handle a request."""


class StoreHandler(Protocol):
    """`async def store(request: StoreRequest) -> int`."""

    def __call__(self, request: StoreRequest, /) -> Awaitable[StatusAnswer]:
        """Handle a request."""


class FindHandler(Protocol):
    """`async def find(request: FindRequest) -> AsyncIterator[Dataset]`.

    A handler that is no generator is treated as if it yielded what it returns; None means no match.
    """

    def __call__(self, request: FindRequest, /) -> AsyncIterator[Match] | Awaitable[Match | None]:
        """Handle a request."""


class GetHandler(Protocol):
    """`async def get(request: GetRequest) -> AsyncIterator[int | Path]`; or a handler that returns only a status."""

    def __call__(self, request: GetRequest, /) -> AsyncIterator[Retrieved] | Awaitable[int | Dataset]:
        """Handle a request."""


class MoveHandler(Protocol):
    """`async def move(request: MoveRequest) -> AsyncIterator[Destination | int | Path]`.

    It may also be a handler that returns only a status.
    """

    def __call__(self, request: MoveRequest, /) -> AsyncIterator[Moved] | Awaitable[int | Dataset | None]:
        """Handle a request."""


class EventReportHandler(Protocol):
    """`async def event(request: NormalizedRequest) -> int | Dataset`; the data set is the Event Reply."""

    def __call__(self, request: NormalizedRequest, /) -> Awaitable[DatasetAnswer]:
        """Handle a request."""


class NGetHandler(Protocol):
    """`async def get(request: NormalizedRequest) -> Dataset`; the data set is the Attribute List."""

    def __call__(self, request: NormalizedRequest, /) -> Awaitable[DatasetAnswer]:
        """Handle a request."""


class NSetHandler(Protocol):
    """`async def set(request: NormalizedRequest) -> int | Dataset`; the data set is the Attribute List afterward."""

    def __call__(self, request: NormalizedRequest, /) -> Awaitable[DatasetAnswer]:
        """Handle a request."""


class ActionHandler(Protocol):
    """`async def action(request: NormalizedRequest) -> int | Dataset`; the data set is the Action Reply."""

    def __call__(self, request: NormalizedRequest, /) -> Awaitable[DatasetAnswer]:
        """Handle a request."""


class CreateHandler(Protocol):
    """`async def create(request: NormalizedRequest) -> int | Dataset`; the data set is the Attribute List."""

    def __call__(self, request: NormalizedRequest, /) -> Awaitable[DatasetAnswer]:
        """Handle a request."""


class DeleteHandler(Protocol):
    """`async def delete(request: NormalizedRequest) -> int`."""

    def __call__(self, request: NormalizedRequest, /) -> Awaitable[StatusAnswer]:
        """Handle a request."""


# --- hooks ------------------------------------------------------------------------------------------------------------


class AuthorizeHook(Protocol):
    """`async def authorize(request: Request) -> bool`."""

    def __call__(self, request: Request, /) -> Awaitable[bool]:
        """Answer what the hook is asked."""


class AuthenticateHook(Protocol):
    """`async def authenticate(identity: UserIdentityRequest | None, request: AssociationRequest) -> bool | bytes`."""

    def __call__(
        self, identity: UserIdentityRequest | None, request: AssociationRequest, /
    ) -> Awaitable[bool | bytes | None]:
        """Answer what the hook is asked."""


class AssociateHook(Protocol):
    """`async def on_associate(request: AssociationRequest) -> Collection[str | int] | None`."""

    def __call__(self, request: AssociationRequest, /) -> Awaitable[Collection[str | int] | None]:
        """Answer what the hook is asked."""


class AssociationEndHook(Protocol):
    """`async def ended(association: ProviderAssociation, error: BaseException | None) -> None`."""

    def __call__(self, association: ProviderAssociation, error: BaseException | None, /) -> Awaitable[None]:
        """Answer what the hook is asked."""
