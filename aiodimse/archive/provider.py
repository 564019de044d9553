"""The handlers that put an archive on a Server: C-STORE, C-FIND, C-GET and C-MOVE (PS3.4 B, C, Y, Z)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager, suppress
from functools import partial
from typing import Protocol, TypeAlias, TypeVar

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
from .queries import (
    IdentifierError,
    Query,
    check_nothing_found,
    find_one_level,
    find_query,
    retrieve_one_level,
    retrieve_query,
)
from .repository import RepositoryQuery, repository_query
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
_ONE_LEVEL_RETRIEVE: Mapping[str, OneLevelModel] = {**ONE_LEVEL_GET, **ONE_LEVEL_MOVE}
_RETRIEVE: Mapping[str, Model] = {**GET, **MOVE}

# What the archive supports beyond the baseline, if a peer asks for it (PS3.4 C.5).
QUERIES = aiodimse.ExtendedQuery(
    relational=True, date_time=True, fuzzy_names=True, empty_value_matching=True, multiple_value_matching=True
)
ONE_LEVEL_QUERIES = aiodimse.ExtendedQuery(fuzzy_names=True)
RETRIEVALS = aiodimse.ExtendedRetrieve(relational=True)

FRAME_LEVEL = frozenset(
    map(str, (sop_class.CompositeInstanceRootRetrieveGet, sop_class.CompositeInstanceRootRetrieveMove))
)
"""SOP classes with which a retrieval may ask for frames (PS3.4 Y)."""

MAX_SUBOPERATIONS = 65535  # the counters of C-GET and C-MOVE responses have VR US (PS3.7 9.3.3)


Checked = TypeVar("Checked", Query, RepositoryQuery)

Found: TypeAlias = tuple[Entry | None, aiodimse.InstanceSource]
"""An object that is retrieved, and what is sent for it. None: what is sent was made for the request."""


class Observer(Protocol):
    """Hooks that are called when objects are stored and sent, for example for an audit trail."""

    def stored(self, request: aiodimse.StoreRequest, entry: Entry) -> None:
        """Called after an object was stored.

        Args:
            request: The C-STORE request, whose response will have the status 0000.
            entry: The object.
        """

    def retrieved(self, request: aiodimse.GetRequest | aiodimse.MoveRequest, entries: Sequence[Entry]) -> None:
        """Called before a C-GET or C-MOVE sends objects.

        Args:
            request: The request.
            entries: The objects.
        """


class ServedArchives:
    """The archives of a server, and what they need from the server.

    Args:
        server: The server.
        archive: The archive of all called AE titles that are not in `called`.
        called: Archives by called AE title.
        destinations: Addresses by AE title.
        observer: The hooks for stored and sent objects.
    """

    def __init__(
        self,
        server: aiodimse.Server,
        archive: Archive,
        called: Mapping[str, Archive],
        destinations: Mapping[str, aiodimse.Destination | tuple[str, int]],
        observer: Observer | None,
    ) -> None:
        self._observer = observer
        self.server, self._archive, self._called = server, archive, called
        self.destinations = destinations
        self._commitments: dict[tuple[str, Archive], Commitment] = {}

    def title_for(self, request: aiodimse.Request) -> str:
        """Return the AE title of the archive for a request."""
        called = request.association.called_ae_title
        return called if called in self._called else self.server.ae_title

    def archive_for(self, request: aiodimse.Request) -> Archive:
        """Return the archive for a request."""
        return self._called.get(request.association.called_ae_title, self._archive)

    def commitment_for(self, request: aiodimse.Request) -> Commitment:
        """Return the storage commitment of the archive for a request."""
        return self._commitment(self.title_for(request), self.archive_for(request))

    async def stored(self, request: aiodimse.StoreRequest, *, durable: bool) -> int | Dataset:
        """Store the instance of a request."""
        archive = self.archive_for(request)
        status = await archive.store(request, durable=durable)
        if self._observer is not None and status == 0x0000:
            with archive.availability.asked(0xA700):
                known = await archive.index.lookup([request.sop_instance_uid])
            for entry in known.values():
                self._observer.stored(request, entry)
        return status

    async def sent(
        self, request: aiodimse.GetRequest | aiodimse.MoveRequest, found: Sequence[Found]
    ) -> AsyncGenerator[int | tuple[int, aiodimse.InstanceSource], None]:
        """Yield what a handler of C-GET or C-MOVE yields to send these objects: their number first.

        They are in use meanwhile. What was removed before they were is not there any more, and is not counted.
        """
        entries = [entry for entry, _ in found if entry is not None]
        archive = self.archive_for(request)
        async with AsyncExitStack() as used:
            with archive.availability.locking(0xA701):
                await used.enter_async_context(archive.in_use(entries))
            with archive.availability.asked(0xA701):
                gone = await _gone(archive, entries)
            if gone:
                found = [each for each in found if each[0] is None or each[0].sop_instance_uid not in gone]
                entries = [entry for entry, _ in found if entry is not None]
            yield len(found)
            if self._observer is not None:
                self._observer.retrieved(request, entries)
            for _, payload in found:
                yield 0xFF00, payload

    def resume(self) -> None:
        """Report on commitments that were requested before a restart."""
        for title, archive in ((self.server.ae_title, self._archive), *self._called.items()):
            self._commitment(title, archive)

    def _commitment(self, title: str, archive: Archive) -> Commitment:
        """Return the storage commitment of an archive. A new one begins with the transactions in the index."""
        if (title, archive) not in self._commitments:
            commitment = self._commitments[title, archive] = Commitment(archive, self.destinations, title)
            archive.background(commitment.resume(), "aiodimse storage commitments")
        return self._commitments[title, archive]


def provide(
    server: aiodimse.Server,
    archive: Archive,
    *,
    destinations: Mapping[str, aiodimse.Destination | tuple[str, int]] | None = None,
    called: Mapping[str, Archive] | None = None,
    durable: bool = True,
    observer: Observer | None = None,
) -> None:
    """Register handlers on the server that store into the archive, and answer queries and retrievals from it.

    Args:
        server: The server that gets the handlers.
        archive: The archive.
        destinations: Where a C-MOVE connects to, by AE title. Other titles are answered with 0xA801. The mapping is
            read at each request, so it may change.
        called: Archives for AE titles by which the server may be called; the server has to accept these titles. The
            mapping is read at each request, so it may change.
        durable: Whether an instance is flushed to the disk before its C-STORE is answered.
        observer: Hooks that are called when objects are stored and sent.

    Example:
        ```python
        async with await Archive.open("/data/dicom") as archive:
            provide(server, archive, destinations={"VIEWER": ("192.0.2.7", 11112)})
        ```
    """
    known = {} if destinations is None else destinations
    served = ServedArchives(server, archive, {} if called is None else called, known, observer)

    @server.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int | Dataset:
        return await served.stored(request, durable=durable)

    @server.on_n_action(sop_class.StorageCommitmentPushModel)
    async def commit(request: aiodimse.NormalizedRequest) -> int:
        return await served.commitment_for(request).accept(request)

    _provide_one_level(server, served)
    with suppress(RuntimeError):  # without a running event loop there is nothing to resume yet
        asyncio.get_running_loop()
        served.resume()

    @server.on_c_find(*FIND, extended=QUERIES)
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[tuple[int, Dataset]]:
        rules = request.extended or BASELINE
        model = FIND[request.sop_class_uid]
        query = _checked(request, lambda strict: find_query(request.identifier, model, rules, strict=strict))
        async with aclosing(_responses(served, request, query)) as responses:
            async for each in responses:
                yield each

    @server.on_c_find(sop_class.RepositoryQuery, extended=QUERIES)
    async def records(request: aiodimse.FindRequest) -> AsyncIterator[aiodimse.handler_types.Match]:
        rules = request.extended or BASELINE
        asked = _checked(request, lambda strict: repository_query(request.identifier, rules, strict=strict))
        async with aclosing(_records(served, request, asked)) as responses:
            async for each in responses:
                yield each

    _provide_retrievals(server, served, GET, MOVE, partial(_retrieved, served), extended=RETRIEVALS)


def _provide_one_level(server: aiodimse.Server, served: ServedArchives) -> None:
    """Register handlers for the models without patient and study (PS3.4 U, X, BB, HH, II, JJ)."""

    @server.on_c_find(*ONE_LEVEL_FIND, extended=ONE_LEVEL_QUERIES)
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[tuple[int, Dataset]]:
        rules = request.extended or BASELINE
        model = ONE_LEVEL_FIND[request.sop_class_uid]
        query = _checked(request, lambda strict: find_one_level(request.identifier, model, rules, strict=strict))
        async with aclosing(_responses(served, request, query)) as responses:
            async for each in responses:
                yield each

    async def found(request: aiodimse.GetRequest | aiodimse.MoveRequest) -> list[Found]:
        model = _ONE_LEVEL_RETRIEVE[request.sop_class_uid]
        return await _found(served, request, _checked(request, lambda _: retrieve_one_level(request.identifier, model)))

    _provide_retrievals(server, served, ONE_LEVEL_GET, ONE_LEVEL_MOVE, found)


def _provide_retrievals(
    server: aiodimse.Server,
    served: ServedArchives,
    gets: Iterable[str],
    moves: Iterable[str],
    find: Callable[[aiodimse.GetRequest | aiodimse.MoveRequest], Awaitable[list[Found]]],
    *,
    extended: aiodimse.ExtendedRetrieve | None = None,
) -> None:
    """Register handlers for C-GET and C-MOVE, which send what `find` returns for a request."""

    @server.on_c_get(*gets, extended=extended)
    async def get(request: aiodimse.GetRequest) -> AsyncIterator[aiodimse.handler_types.Retrieved]:
        async with aclosing(served.sent(request, await find(request))) as sent:
            async for each in sent:
                yield each

    @server.on_c_move(*moves, extended=extended)
    async def move(request: aiodimse.MoveRequest) -> AsyncIterator[aiodimse.handler_types.Moved]:
        found = await find(request)
        yield served.destinations.get(request.move_destination.strip())
        async with aclosing(served.sent(request, found)) as sent:
            async for each in sent:
                yield each


async def _responses(
    served: ServedArchives, request: aiodimse.FindRequest, query: Query
) -> AsyncGenerator[tuple[int, Dataset], None]:
    """Yield the Pending responses to a C-FIND."""
    status = 0xFF01 if query.unsupported else 0xFF00  # C.4.1.1.4, K.4.1.1.4
    archive, ae_title = served.archive_for(request), served.title_for(request)
    async with (
        archive.searches.search(request, served.server) as search,
        aclosing(archive.availability.stream(archive.index.find(query, search.slice), 0xA700)) as matches,
    ):
        async for match in matches:
            search.found()
            yield status, response(query, match, ae_title=ae_title)


async def _records(
    served: ServedArchives, request: aiodimse.FindRequest, asked: RepositoryQuery
) -> AsyncGenerator[aiodimse.handler_types.Match, None]:
    """Yield the Pending responses to a Repository Query, and B001 if there are more than requested (PS3.4 C.6.4.5).

    Our own limit ends it with B001 too, since the peer can ask for the rest.
    """
    status = 0xFF01 if asked.query.unsupported else 0xFF00
    archive, ae_title = served.archive_for(request), served.title_for(request)
    is_behind, sent = asked.after is None, 0
    limit = served.server.limits.search_responses
    most = limit if asked.most is None else min(asked.most, limit)
    async with (
        archive.searches.search(request, served.server) as search,
        aclosing(archive.availability.stream(archive.index.find(asked.query, search.slice), 0xA700)) as matches,
    ):
        async for match in matches:
            key = asked.record_key(match)
            if not is_behind:
                is_behind = key == asked.after
                continue
            if sent == most:
                yield 0xB001
                return
            search.found()
            sent += 1
            answer = response(asked.query, match, ae_title=ae_title)
            if asked.is_keyed:
                answer.RecordKey = key
            yield status, answer
    if not is_behind:
        raise aiodimse.DIMSEFailure(0xA710, "the entity of this Record Key is gone")


async def _retrieved(served: ServedArchives, request: aiodimse.GetRequest | aiodimse.MoveRequest) -> list[Found]:
    if request.sop_class_uid in FRAME_LEVEL and is_frame_level(request.identifier):
        return [(None, await extracted(served.archive_for(request), request.identifier))]
    relational = request.extended is not None and request.extended.relational
    model = _RETRIEVE[request.sop_class_uid]
    query = _checked(
        request, lambda strict: retrieve_query(request.identifier, model, relational=relational, strict=strict)
    )
    return await _found(served, request, query)


async def _found(
    served: ServedArchives, request: aiodimse.GetRequest | aiodimse.MoveRequest, query: Query
) -> list[Found]:
    found: list[Found] = []
    archive = served.archive_for(request)
    async with (
        archive.searches.search(request, served.server, 0xA701) as search,
        aclosing(archive.availability.stream(archive.index.entries(query, search.slice), 0xA701)) as entries,
    ):
        async for entry in entries:
            found.append((entry, archive.storage.payload(entry)))
            if len(found) > MAX_SUBOPERATIONS:
                raise aiodimse.DIMSEFailure(0xA701, f"more than {MAX_SUBOPERATIONS} instances: ask for less at once")
    if not found:
        with _refusing():
            check_nothing_found(query)
    return found


async def _gone(archive: Archive, entries: Sequence[Entry]) -> set[str]:
    """Return the objects that are not there any more. As studies are removed as a whole, one of each is looked for."""
    one_of_each = {entry.study_instance_uid: entry.sop_instance_uid for entry in entries if entry.study_instance_uid}
    known = await archive.index.lookup(list(one_of_each.values()))
    if len(known) == len(one_of_each):
        return set()
    studies = {study for study, uid in one_of_each.items() if uid not in known}
    uids = {entry.sop_instance_uid for entry in entries if entry.study_instance_uid in studies}
    return uids.difference(await archive.index.lookup(uids))


@contextmanager
def _refusing() -> Iterator[None]:
    """Refuse the request if its Identifier is not as it has to be."""
    try:
        yield
    except IdentifierError as error:
        raise aiodimse.DIMSEFailure(error.status, error.comment, offending_elements=error.offending_elements) from None


def _checked(request: aiodimse.Request, check: Callable[[bool], Checked]) -> Checked:
    with _refusing():
        query = check(request.is_strict)
    for row in query.tolerated:
        request.tolerate(row)
    return query
