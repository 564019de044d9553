"""The association requestor: connect(), its options, and which presentation contexts files need."""

from __future__ import annotations

import os
import ssl as ssl_module
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TypedDict

from aiodimse import datasets
from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.environment import Environment
from aiodimse.aio.settings import Settings
from aiodimse.aio.transport import Trace
from aiodimse.association import MAX_CONTEXTS, PresentationContext, fill_with_storage, propose
from aiodimse.association.negotiation import check_ae_title, operations_window_of, several
from aiodimse.client import Association
from aiodimse.config import Limits, Timeouts
from aiodimse.errors import LocalProtocolError
from aiodimse.metrics import Metrics
from aiodimse.pdu import CommonExtendedNegotiation, UserIdentityRequest
from aiodimse.services.contexts import contexts_for_instances
from aiodimse.services.serving import RequestHandlers
from aiodimse.services.user.opening import AssociationPlan, leave


class Connect:
    """What `connect` returns. Await it, or enter it with `async with`: both give the Association."""

    def __init__(self, plan: AssociationPlan) -> None:
        self._plan = plan
        self._endpoint: Endpoint | None = None

    def __await__(self) -> Generator[object, None, Association]:
        return self._open().__await__()

    async def _open(self) -> Association:
        self._endpoint, observer = await self._plan.open()
        return Association(self._endpoint, observer)

    async def __aenter__(self) -> Association:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release the association. Abort it on cancellation, or if the body raised while an operation was open."""
        assert self._endpoint is not None
        await leave(self._endpoint, error)


class ConnectOptions(TypedDict, total=False):
    """The keyword arguments of `connect`, without `contexts`: for functions that pass them on."""

    ae_title: str
    called_ae_title: str
    storage: Iterable[str | PresentationContext] | None
    max_pdu_length: int | None
    timeouts: Timeouts | None
    limits: Limits | None
    ssl: ssl_module.SSLContext | None
    user_identity: UserIdentityRequest | None
    common_extended: Sequence[CommonExtendedNegotiation]
    operations_window: int | tuple[int, int]
    handlers: RequestHandlers | None
    metrics: Metrics | None
    trace: Trace | None
    environment: Environment | None
    strict: bool
    transcode: bool


def connect(
    host: str,
    port: int,
    *,
    contexts: Sequence[str | PresentationContext],
    ae_title: str = "AIODIMSE",
    called_ae_title: str = "ANY-SCP",
    storage: Iterable[str | PresentationContext] | None = None,
    max_pdu_length: int | None = None,
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
    ssl: ssl_module.SSLContext | None = None,
    user_identity: UserIdentityRequest | None = None,
    common_extended: Sequence[CommonExtendedNegotiation] = (),
    operations_window: int | tuple[int, int] = 1,
    handlers: RequestHandlers | None = None,
    metrics: Metrics | None = None,
    trace: Trace | None = None,
    environment: Environment | None = None,
    strict: bool = False,
    transcode: bool = True,
) -> Connect:
    """Open an association: `async with aiodimse.connect(...) as association`, or await it.

    At the end of the block the association is released. It is aborted if the block was cancelled, or raised while an
    operation was open; an operation that was left and cancelled by C-CANCEL is waited for. An exception of the block
    goes on to the caller even if the release fails.

    Args:
        host: The host name or address of the peer.
        port: Its TCP port, as a rule 104 or 11112.
        contexts: The presentation contexts to propose: SOP class UIDs, or PresentationContext objects. If a SOP class
            of C-GET is among them, storage SOP classes in the role of SCP are added, up to 128 contexts in all.
        ae_title: Our AE title, 1 to 16 characters.
        called_ae_title: The AE title of the peer.
        storage: The storage SOP classes that are added for C-GET. None: the most common ones.
        max_pdu_length: The longest P-DATA-TF that we accept, in bytes. None: that of `limits`.
        timeouts: Every deadline. None: `Timeouts()`.
        limits: Bounds on what the peer can make us hold. None: `Limits()`.
        ssl: A context from `tls.client_context()`, for DICOM over TLS. None: no TLS.
        user_identity: The user identity that we send (PS3.7 D.3.3.7). None: none.
        common_extended: SOP class common extended negotiation (PS3.7 D.3.3.6).
        operations_window: How many operations may be open at once (PS3.7 D.3.3.3): the number for those that we invoke
            and the number for those that we perform, or one number for both. It is proposed only if it is not 1.
        handlers: A Server whose handlers perform the requests of the peer on this association. None: they are refused.
        metrics: Its methods are called when the association and its operations end. None: nothing is counted.
        trace: Called with our role when the connection opens. The function that it returns is called with ">" (from the
            requestor) or "<" (from the acceptor) and the bytes that were written or read; with b"" at the end.
        environment: The clock and the network, which tests replace. None: `Environment()`.
        strict: Whether to use none of the leniencies of docs/reference/leniencies.md.
        transcode: Whether an instance whose compression the peer does not accept is sent decompressed or losslessly
            recompressed (extra `codecs`). If False, it is not sent.

    Returns:
        An object that gives the Association when it is entered or awaited.

    Raises:
        LocalProtocolError: There are more than 128 contexts, or a UID, an AE title or the operations window is not
            valid. This is raised at once; the following are raised when the object is entered or awaited.
        AssociationRejected: The peer rejected the association.
        AssociationAborted: The peer aborted the association, or the connection was lost.
        AssociationTimeout: `Timeouts.connect` seconds passed; its phase is "connect" or "negotiation".
        TLSError: The TLS handshake failed.
        NoAcceptedContext: The peer accepts none of the contexts.
        OSError: The peer cannot be reached.

    Cancellation: The connection is closed, and nothing is left of it.

    Examples:
        >>> async with aiodimse.connect("pacs.example", 11112, contexts=[sop_class.Verification]) as association:
        ...     response = await association.c_echo()
    """
    limits = limits or Limits()
    settings = Settings(
        limits,
        timeouts or Timeouts(),
        environment or Environment(),
        trace,
        metrics,
        strict=strict,
        transcode=transcode,
    )
    if max_pdu_length is not None:
        settings.limits = limits = replace(limits, max_pdu_length=max_pdu_length)
    wanted = fill_with_storage(contexts, storage)
    if len(wanted) > MAX_CONTEXTS:
        raise LocalProtocolError(f"{len(wanted)} presentation contexts; an association has at most {MAX_CONTEXTS}")
    for title in (ae_title, called_ae_title):
        check_ae_title(title)
    rq = propose(
        wanted,
        ae_title=ae_title,
        called_ae_title=called_ae_title,
        limits=limits,
        operations_window=operations_window_of(operations_window),
        user_identity=user_identity,
        common_extended=common_extended,
    )
    return Connect(AssociationPlan(host, port, rq, settings, ssl, handlers))


def contexts_for(paths: Iterable[str | os.PathLike[str]]) -> list[PresentationContext]:
    """Make the presentation contexts that sending these files needs.

    Reads the file meta information of each file, here and now: for thousands of files `await
    asyncio.to_thread(aiodimse.contexts_for, paths)`.

    Args:
        paths: Part 10 files.

    Returns:
        One context for each SOP class and stored transfer syntax, and Explicit and Implicit Little Endian beside.

    Raises:
        NotDICOM: A file is not a DICOM file.
        OSError: A file cannot be read.
    """
    heads = (datasets.read_head(path) for path in several(paths, "paths"))
    return contexts_for_instances(dict.fromkeys((head.sop_class_uid, head.transfer_syntax) for head in heads))
