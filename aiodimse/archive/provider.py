"""The handlers that put an archive on a Server: C-STORE, C-FIND, C-GET and C-MOVE (PS3.4 B, C, Y, Z)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress

from pydicom import Dataset

import aiodimse
from aiodimse import sop_class

from .archive import Archive
from .commitment import Commitment
from .frame_level import extracted
from .frames import is_frame_level
from .index import Entry
from .matching import BASELINE
from .models import COMPOSITE_INSTANCE, PATIENT_ROOT, PATIENT_STUDY_ONLY, STUDY_ROOT, Model
from .one_level import MODELS, OneLevelModel
from .queries import IdentifierError, Query, find_one_level, find_query, retrieve_one_level, retrieve_query
from .responses import response

_log = logging.getLogger(__name__)

FIND: Mapping[str, Model] = {
    sop_class.PatientRootQueryRetrieveInformationModelFind: PATIENT_ROOT,
    sop_class.StudyRootQueryRetrieveInformationModelFind: STUDY_ROOT,
    sop_class.PatientStudyOnlyQueryRetrieveInformationModelFind: PATIENT_STUDY_ONLY,
}
GET: Mapping[str, Model] = {
    sop_class.PatientRootQueryRetrieveInformationModelGet: PATIENT_ROOT,
    sop_class.StudyRootQueryRetrieveInformationModelGet: STUDY_ROOT,
    sop_class.PatientStudyOnlyQueryRetrieveInformationModelGet: PATIENT_STUDY_ONLY,
    sop_class.CompositeInstanceRootRetrieveGet: COMPOSITE_INSTANCE,
    sop_class.CompositeInstanceRetrieveWithoutBulkDataGet: COMPOSITE_INSTANCE,
}
MOVE: Mapping[str, Model] = {
    sop_class.PatientRootQueryRetrieveInformationModelMove: PATIENT_ROOT,
    sop_class.StudyRootQueryRetrieveInformationModelMove: STUDY_ROOT,
    sop_class.PatientStudyOnlyQueryRetrieveInformationModelMove: PATIENT_STUDY_ONLY,
    sop_class.CompositeInstanceRootRetrieveMove: COMPOSITE_INSTANCE,
}

ONE_LEVEL_FIND: Mapping[str, OneLevelModel] = {model.find: model for model in MODELS}
ONE_LEVEL_GET: Mapping[str, OneLevelModel] = {model.get: model for model in MODELS}
ONE_LEVEL_MOVE: Mapping[str, OneLevelModel] = {model.move: model for model in MODELS}

# What we can do beyond the baseline, where a peer asks for it (C.5).
QUERIES = aiodimse.ExtendedQuery(
    relational=True, date_time=True, fuzzy_names=True, empty_value_matching=True, multiple_value_matching=True
)
ONE_LEVEL_QUERIES = aiodimse.ExtendedQuery(fuzzy_names=True)
RETRIEVALS = aiodimse.ExtendedRetrieve(relational=True)

FRAME_LEVEL = frozenset(
    map(str, (sop_class.CompositeInstanceRootRetrieveGet, sop_class.CompositeInstanceRootRetrieveMove))
)
"""SOP classes whose retrievals may ask for frames (PS3.4 Y)."""

MAX_SUBOPERATIONS = 65535  # the counters of a C-GET and C-MOVE response are of VR US, PS3.7 9.3.3


def provide(
    server: aiodimse.Server,
    archive: Archive,
    *,
    destinations: Mapping[str, aiodimse.Destination | tuple[str, int]] | None = None,
    durable: bool = True,
) -> None:
    """Register handlers on the server that save into the archive, and answer queries and retrievals from it.

    Args:
        server: The server.
        archive: The archive.
        destinations: For each AE title where a C-MOVE to it connects to; a C-MOVE to any other title is answered
            0xA801 (Move Destination unknown). It is read at each request, so it may change at any time.
        durable: Whether an instance is flushed to the disk before its C-STORE is answered.

    Example:
        ```python
        archive = await Archive.open("/data/dicom")
        provide(server, archive, destinations={"VIEWER": ("192.0.2.7", 11112)})
        ```
    """
    known = {} if destinations is None else destinations

    @server.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int | Dataset:
        return await archive.store(request, durable=durable)

    _provide_one_level(server, archive, known)
    commitment = Commitment(archive, known, server.ae_title)
    server.on_n_action(sop_class.StorageCommitmentPushModel)(commitment.asked)
    with suppress(RuntimeError):  # no event loop runs yet, and nothing was asked before
        asyncio.get_running_loop()
        archive.background(commitment.resume(), "aiodimse storage commitments")

    @server.on_c_find(*FIND, extended=QUERIES)
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[tuple[int, Dataset]]:
        rules = request.extended or BASELINE
        model = FIND[request.sop_class_uid]
        query = _checked(request, lambda strict: find_query(request.identifier, model, rules, strict=strict))
        async with aclosing(_responses(server, archive, request, query)) as responses:
            async for each in responses:
                yield each

    @server.on_c_get(*GET, extended=RETRIEVALS)
    async def get(request: aiodimse.GetRequest) -> AsyncIterator[aiodimse.handler_types.Retrieved]:
        payloads = await _payloads(server, archive, request, GET)
        yield len(payloads)
        for payload in payloads:
            yield 0xFF00, payload

    @server.on_c_move(*MOVE, extended=RETRIEVALS)
    async def move(request: aiodimse.MoveRequest) -> AsyncIterator[aiodimse.handler_types.Moved]:
        payloads = await _payloads(server, archive, request, MOVE)
        yield known.get(request.move_destination.strip())
        yield len(payloads)
        for payload in payloads:
            yield 0xFF00, payload


def _provide_one_level(
    server: aiodimse.Server,
    archive: Archive,
    destinations: Mapping[str, aiodimse.Destination | tuple[str, int]],
) -> None:
    """The models without a patient and a study (PS3.4 U, X, BB, HH, II, JJ)."""

    @server.on_c_find(*ONE_LEVEL_FIND, extended=ONE_LEVEL_QUERIES)
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[tuple[int, Dataset]]:
        rules = request.extended or BASELINE
        model = ONE_LEVEL_FIND[request.sop_class_uid]
        query = _checked(request, lambda _: find_one_level(request.identifier, model, rules))
        async with aclosing(_responses(server, archive, request, query)) as responses:
            async for each in responses:
                yield each

    @server.on_c_get(*ONE_LEVEL_GET)
    async def get(request: aiodimse.GetRequest) -> AsyncIterator[aiodimse.handler_types.Retrieved]:
        model = ONE_LEVEL_GET[request.sop_class_uid]
        query = _checked(request, lambda _: retrieve_one_level(request.identifier, model))
        entries = await _found(server, archive, request, query)
        yield len(entries)
        for entry in entries:
            yield 0xFF00, archive.storage.payload(entry)

    @server.on_c_move(*ONE_LEVEL_MOVE)
    async def move(request: aiodimse.MoveRequest) -> AsyncIterator[aiodimse.handler_types.Moved]:
        model = ONE_LEVEL_MOVE[request.sop_class_uid]
        query = _checked(request, lambda _: retrieve_one_level(request.identifier, model))
        entries = await _found(server, archive, request, query)
        yield destinations.get(request.move_destination.strip())
        yield len(entries)
        for entry in entries:
            yield 0xFF00, archive.storage.payload(entry)


async def _responses(
    server: aiodimse.Server, archive: Archive, request: aiodimse.FindRequest, query: Query
) -> AsyncGenerator[tuple[int, Dataset], None]:
    """The Pending responses to a C-FIND."""
    status = 0xFF01 if query.unsupported else 0xFF00  # C.4.1.1.4, K.4.1.1.4
    async with (
        archive.searches.search(request, server) as search,
        aclosing(archive.index.find(query, search.slice)) as matches,
    ):
        async for match in matches:
            search.found()
            yield status, response(query, match, ae_title=server.ae_title)


async def _payloads(
    server: aiodimse.Server,
    archive: Archive,
    request: aiodimse.GetRequest | aiodimse.MoveRequest,
    models: Mapping[str, Model],
) -> Sequence[aiodimse.InstanceSource]:
    if request.sop_class_uid in FRAME_LEVEL and is_frame_level(request.identifier):
        return await extracted(archive, request.identifier)
    relational = request.extended is not None and request.extended.relational
    model = models[request.sop_class_uid]
    query = _checked(
        request, lambda strict: retrieve_query(request.identifier, model, relational=relational, strict=strict)
    )
    return [archive.storage.payload(entry) for entry in await _found(server, archive, request, query)]


async def _found(
    server: aiodimse.Server, archive: Archive, request: aiodimse.GetRequest | aiodimse.MoveRequest, query: Query
) -> list[Entry]:
    found: list[Entry] = []
    async with (
        archive.searches.search(request, server, 0xA701) as search,
        aclosing(archive.index.entries(query, search.slice)) as entries,
    ):
        async for entry in entries:
            found.append(entry)
            if len(found) > MAX_SUBOPERATIONS:
                raise aiodimse.DIMSEFailure(0xA701, f"more than {MAX_SUBOPERATIONS} instances: ask for less at once")
    return found


def _checked(request: aiodimse.Request, check: Callable[[bool], Query]) -> Query:
    try:
        query = check(request.is_strict)
    except IdentifierError as error:
        raise aiodimse.DIMSEFailure(error.status, error.comment, offending_elements=error.offending_elements) from None
    for row in query.tolerated:
        request.tolerate(row)
    return query
