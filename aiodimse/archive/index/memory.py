"""An index in memory. It is the reference that every other index is compared with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import aclosing
from itertools import count
from typing import TypeVar

from ..matching import Value, matcher
from ..models import Level
from ..one_level import OneLevelModel
from ..queries import Query
from .ages import oldest, study_ages
from .counters import StudyCounters, patient_counts
from .interface import (
    FREELY,
    Counts,
    Entry,
    File,
    Finding,
    Header,
    Match,
    OutdatedStudy,
    StudyAge,
    Transaction,
    TransactionName,
    Turn,
    folder_of,
)
from .keys import distinct_batches, patient_key
from .slices import work
from .sourced import SourcedAttributes, persons
from .tree import Node, Siblings
from .views import EntityView, PersonView, View, keywords_of, of_patient

T = TypeVar("T")

_AT_ONCE = 0.005
"""The time in seconds that searches may take before the event loop has its turn."""


class MemoryIndex:
    """An index in memory: the tree of patients, studies, series and images, and a dictionary of UIDs for each level.

    A series that two studies claim, or a study that two Patient IDs claim, is kept as two entities, so that a response
    about one patient never contains images of another. Patient attributes are those of the study's own objects.
    Patients that share an ID are separated by `sourced.persons`. Objects without a Patient ID are found in the Study
    Root model; at the PATIENT level there is one patient for each of their names, which cannot be retrieved as a whole.

    100,000 objects take about 250 MB. Use it from one event loop.
    """

    def __init__(self) -> None:
        self._patients = Siblings()
        self._by_uid: dict[Level, dict[str, tuple[Node, ...]]] = {level: {} for level in Level}
        self._one_level: dict[str, dict[str, Node]] = {}
        """Objects that belong to no study, by model and UID."""
        self._files: dict[str, dict[str, File]] = {}
        """Files, by folder and location."""
        self._duplicates: dict[str, set[str]] = {}
        """Locations of duplicates, by SOP Instance UID."""
        self._shrunk: list[Siblings] = []
        """Where nodes were removed by the change under way."""
        self._forgotten: list[tuple[Node, SourcedAttributes, set[str]]] = []
        """Studies and series, and the attributes that lost their source by the change under way."""
        self._marks = count(1)
        self._transactions: dict[TransactionName, Transaction] = {}
        self._clock_record: str | None = None
        self._is_complete = False
        self._slices = asyncio.Lock()
        """Held during one slice of a search, so that many searches together take no longer than one of each turn."""

    async def add(self, headers: Iterable[Header]) -> None:
        """See `Index.add`.

        Args:
            headers: What was read from the objects.
        """
        for batch in distinct_batches(headers):
            for header in batch:
                self._replace(header)
            for header in batch:
                self._add(header)
            self._end_change()

    def add_now(self, header: Header) -> None:
        """Add one object without waiting.

        Args:
            header: What was read from the object.
        """
        self._replace(header)
        self._add(header)
        self._end_change()

    def _replace(self, header: Header) -> None:
        """Remove what has the UID or the location of an object."""
        self._remove_object(header.unique(Level.IMAGE))
        self._forget(header.location)

    def _add(self, header: Header) -> None:
        uid = header.unique(Level.IMAGE)
        if header.model:
            image = Node(Level.IMAGE, (uid,), None)
            self._one_level.setdefault(header.model, {})[uid] = image
            self._by_uid[Level.IMAGE][uid] = (image,)
        else:
            image = self._image_of(header, uid)
        image.attributes = SourcedAttributes(dict(header.levels[Level.IMAGE]), (header.character_set,))
        image.entry = header.entry
        self._note(File(header.location, header.size, header.modified, Finding.OBJECT, uid))

    def _image_of(self, header: Header, uid: str) -> Node:
        """Add a new image to its series."""
        patient = self._child(None, Level.PATIENT, patient_key(header))
        study = self._child(patient, Level.STUDY, (header.unique(Level.STUDY),))
        series = self._child(study, Level.SERIES, (header.unique(Level.SERIES),))
        image = self._child(series, Level.IMAGE, (uid,))
        own = {**header.levels[Level.PATIENT], **header.levels[Level.STUDY]}
        study.attributes.take(own, uid, header.character_set)
        counters = study.counters = study.counters or StudyCounters()
        if len(series.children) == 1:
            counters.count_series((), 1)
        before = series.attributes.attributes.get("Modality", ())
        series.attributes.take(header.levels[Level.SERIES], uid, header.character_set)
        counters.count_modality(before, -1)
        counters.count_modality(series.attributes.attributes.get("Modality", ()), 1)
        counters.count_instance(header.text("SOPClassUID"), 1)
        return image

    async def note(self, files: Iterable[File]) -> None:
        """See `Index.note`.

        Args:
            files: The files.
        """
        for file in files:
            self._forget(file.location)
            self._note(file)
        self._end_change()

    async def remove(self, locations: Iterable[str]) -> int:
        """See `Index.remove`.

        Args:
            locations: Where the storage had the files.
        """
        removed = sum(self._forget(location) for location in locations)
        self._end_change()
        return removed

    async def find(self, query: Query, turn: Turn = FREELY) -> AsyncGenerator[Match, None]:
        """See `Index.find`.

        Args:
            query: What is asked for.
            turn: Entered for each slice of the work.
        """
        matches = matcher(query.tests, query.rules)
        keywords = keywords_of(query)
        found = (view if matches(view) else None for view in self._views(query))
        async with aclosing(self._stepped(found, turn)) as views:
            async for view in views:
                yield view.match(keywords)

    async def entries(self, query: Query, turn: Turn = FREELY) -> AsyncGenerator[Entry, None]:
        """See `Index.entries`.

        Args:
            query: What is to be retrieved.
            turn: Entered for each slice of the work.
        """
        nodes = self._candidates(query) if query.one_level is None else self._of_model(query, query.one_level)
        found = (image.entry for node in nodes for image in node.below(Level.IMAGE))
        async with aclosing(self._stepped(found, turn)) as entries:
            async for entry in entries:
                yield entry

    async def lookup(self, sop_instance_uids: Collection[str]) -> dict[str, Entry]:
        """See `Index.lookup`.

        Args:
            sop_instance_uids: The SOP Instance UIDs that are looked for.
        """
        images = self._by_uid[Level.IMAGE]
        nodes = (node for uid in sop_instance_uids for node in images.get(uid, ()))
        return {node.entry.sop_instance_uid: node.entry for node in nodes if node.entry is not None}

    async def files(self, folder: str) -> dict[str, File]:
        """See `Index.files`.

        Args:
            folder: The folder, as `folder_of` gives it.
        """
        return dict(self._files.get(folder, {}))

    async def folders(self) -> list[str]:
        """See `Index.folders`."""
        return list(self._files)

    async def duplicates(self, sop_instance_uids: Collection[str]) -> list[File]:
        """See `Index.duplicates`.

        Args:
            sop_instance_uids: The SOP Instance UIDs of the objects.
        """
        locations = (location for uid in sop_instance_uids for location in self._duplicates.get(uid, ()))
        return [self._files[folder_of(location)][location] for location in locations]

    async def counts(self) -> Counts:
        """See `Index.counts`."""
        return Counts(
            len(self._patients),
            sum(map(len, self._by_uid[Level.STUDY].values())),
            sum(map(len, self._by_uid[Level.SERIES].values())),
            len(self._by_uid[Level.IMAGE]),
        )

    async def oldest_studies(self, limit: int, after: StudyAge | None = None) -> list[StudyAge]:
        """See `Index.oldest_studies`.

        Args:
            limit: How many studies at most.
            after: The last one that was returned before; None: begin with the oldest one.
        """
        return oldest(self._ages(), limit, after)

    async def stored_bytes(self) -> int:
        """See `Index.stored_bytes`."""
        return sum(each.size for each in self._ages())

    async def newest_modified(self) -> int:
        """See `Index.newest_modified`."""
        files = (file for of_folder in self._files.values() for file in of_folder.values())
        return max((file.modified for file in files if file.finding == Finding.OBJECT), default=0)

    async def clock_record(self) -> str | None:
        """See `Index.clock_record`."""
        return self._clock_record

    async def put_clock_record(self, text: str) -> None:
        """See `Index.put_clock_record`.

        Args:
            text: The text.
        """
        self._clock_record = text

    def _ages(self) -> list[StudyAge]:
        return study_ages(self._study_of, (file for files in self._files.values() for file in files.values()))

    def _study_of(self, sop_instance_uid: str) -> str | None:
        """Return the UID of the study of an object; None: the object belongs to none."""
        nodes = self._by_uid[Level.IMAGE].get(sop_instance_uid, ())
        return nodes[0].above(Level.STUDY).key[0] if nodes and nodes[0].parent is not None else None

    async def outdated_studies(self) -> list[OutdatedStudy]:
        """See `Index.outdated_studies`."""
        studies = (study for nodes in self._by_uid[Level.STUDY].values() for study in nodes)
        return [OutdatedStudy(study.key[0], study.outdated) for study in studies if study.outdated is not None]

    async def set_current(self, study: OutdatedStudy) -> None:
        """See `Index.set_current`.

        Args:
            study: The study.
        """
        for node in self._by_uid[Level.STUDY].get(study.study_instance_uid, ()):
            if node.outdated == study.mark:
                node.outdated = None

    async def put_transaction(self, transaction: Transaction) -> Transaction:
        """See `Index.put_transaction`.

        Args:
            transaction: The transaction.
        """
        return self._transactions.setdefault(transaction.name, transaction)

    async def transactions(self) -> list[TransactionName]:
        """See `Index.transactions`."""
        return [each.name for each in sorted(self._transactions.values(), key=lambda each: each.created)]

    async def transaction(self, name: TransactionName) -> Transaction | None:
        """See `Index.transaction`.

        Args:
            name: Its name.
        """
        return self._transactions.get(name)

    async def drop_transaction(self, transaction: Transaction) -> None:
        """See `Index.drop_transaction`.

        Args:
            transaction: The transaction.
        """
        self._transactions.pop(transaction.name, None)

    async def is_complete(self) -> bool:
        """See `Index.is_complete`."""
        return self._is_complete

    async def set_complete(self) -> None:
        """See `Index.set_complete`."""
        self._is_complete = True

    def blocking(self) -> None:
        """See `Index.blocking`: it belongs to the event loop."""

    def process_locks(self) -> None:
        """See `Index.process_locks`."""

    def is_damaged_by(self, error: Exception) -> bool:
        """See `Index.is_damaged_by`.

        Args:
            error: What a method of this index raised.
        """
        return False

    def mark_damaged(self) -> None:
        """See `Index.mark_damaged`: each opening makes a new one."""

    async def close(self, timeout: float = 5.0) -> None:
        """See `Index.close`. There is nothing to release.

        Args:
            timeout: Has no effect.
        """

    async def _stepped(self, found: Iterator[T | None], turn: Turn) -> AsyncGenerator[T, None]:
        """Advance an iterator in slices of time, and yield what it finds."""
        while True:
            async with turn, self._slices:
                some, is_over = work(found, _AT_ONCE)
                if not is_over:
                    await asyncio.sleep(0)  # other tasks of the event loop run before the next search
            for each in some:
                yield each
            if is_over:
                return

    # --- searching ----------------------------------------------------------------------------------------------------

    def _views(self, query: Query) -> Iterator[View]:
        """Yield what the query is matched against."""
        related: dict[tuple[str, ...], dict[int, Mapping[str, Value]]] = {}

        def patient_counts_of(study: Node) -> Mapping[str, Value]:
            patient = study.above(Level.PATIENT)
            if id(study) not in related.get(patient.key, ()):
                views = _persons(patient)
                related[patient.key] = {id(each): view for view, studies in views for each in studies}
            return related[patient.key].get(id(study), {})

        if query.one_level is not None:
            for node in self._of_model(query, query.one_level):
                yield PersonView(node.attributes.attributes, node.attributes.character_sets)
            return
        for node in self._candidates(query):
            if query.level == Level.PATIENT:
                yield from (view for view, _ in _persons(node))
            else:
                yield _view(node, patient_counts_of)

    def _of_model(self, query: Query, model: OneLevelModel) -> Iterator[Node]:
        """Yield the objects of a one-level model that its unique key allows."""
        nodes = self._one_level.get(model.name, {})
        wanted = query.unique.get(Level.IMAGE, tuple(nodes))
        yield from (nodes[uid] for uid in dict.fromkeys(wanted) if uid in nodes)

    def _candidates(self, query: Query) -> Iterator[Node]:
        """Yield the nodes at the level of the query that its unique keys allow.

        The lowest unique key determines where to start. The others are compared with the nodes above.
        """
        lowest = max(query.unique, default=None)
        starts: Iterable[Node]
        if lowest is None:
            starts = self._patients
        else:
            starts = (each for uid in dict.fromkeys(query.unique[lowest]) for each in self._by_uid[lowest].get(uid, ()))
        wanted = [(level, frozenset(values)) for level, values in query.unique.items() if level != lowest]
        for start in starts:
            if start.level == Level.IMAGE and start.parent is None:
                continue  # the object belongs to no study
            if all(start.above(level).key[0] in values for level, values in wanted):
                yield from start.below(query.level)

    # --- coming and going ---------------------------------------------------------------------------------------------

    def _child(self, parent: Node | None, level: Level, key: tuple[str, ...]) -> Node:
        siblings = self._patients if parent is None else parent.children
        known = siblings.get(key)
        if known is None:
            known = siblings.add(level, key, parent)
            if key[0]:
                self._by_uid[level][key[0]] = (*self._by_uid[level].get(key[0], ()), known)
        return known

    def _note(self, file: File) -> None:
        self._files.setdefault(folder_of(file.location), {})[file.location] = file
        if file.finding == Finding.DUPLICATE:
            self._duplicates.setdefault(file.sop_instance_uid, set()).add(file.location)

    def _forget(self, location: str) -> bool:
        """Forget a file and its object. Return whether it had one."""
        of_folder = self._files.get(folder_of(location), {})
        file = of_folder.get(location)
        if file is None:
            return False
        if file.finding == Finding.OBJECT:
            self._remove_object(file.sop_instance_uid)
            return True
        del of_folder[location]
        if file.finding == Finding.DUPLICATE:
            others = self._duplicates[file.sop_instance_uid]
            others.discard(location)
            if not others:
                del self._duplicates[file.sop_instance_uid]
        return False

    def _remove_object(self, sop_instance_uid: str) -> None:
        for image in self._by_uid[Level.IMAGE].get(sop_instance_uid, ()):
            assert image.entry is not None
            if image.parent is None:
                del self._files[folder_of(image.entry.location)][image.entry.location]
                del self._by_uid[Level.IMAGE][sop_instance_uid]
                for nodes in self._one_level.values():
                    nodes.pop(sop_instance_uid, None)
                return
            series, study = image.above(Level.SERIES), image.above(Level.STUDY)
            assert study.counters is not None
            study.counters.count_instance(image.entry.sop_class_uid, -1)
            if len(series.children) == 1:
                study.counters.count_series(series.attributes.attributes.get("Modality", ()), -1)
            del self._files[folder_of(image.entry.location)][image.entry.location]
            node: Node | None = image
            while node is not None:
                if node.children:
                    self._forgotten.append((node, node.attributes, node.attributes.forget(sop_instance_uid)))
                else:
                    self._drop(node)
                node = node.parent

    def _drop(self, node: Node) -> None:
        siblings = self._patients if node.parent is None else node.parent.children
        siblings.remove(node)
        self._shrunk.append(siblings)
        by_uid, uid = self._by_uid[node.level], node.key[0]
        rest = tuple(each for each in by_uid.get(uid, ()) if each is not node)
        if rest:
            by_uid[uid] = rest
        else:
            by_uid.pop(uid, None)

    def _end_change(self) -> None:
        """Give up what was removed and did not come back, and mark the studies that are outdated by it."""
        for node, attributes, forgotten in self._forgotten:
            if node.attributes is attributes and forgotten - attributes.sources.keys():  # it was not removed meanwhile
                node.above(Level.STUDY).outdated = next(self._marks)
        self._forgotten.clear()
        for siblings in self._shrunk:
            siblings.compact()
        self._shrunk.clear()


def _persons(patient: Node) -> list[tuple[PersonView, list[Node]]]:
    """Return the patients of one Patient ID, each with its studies."""
    studies, found = sorted(patient.children, key=lambda study: study.key), []
    for person in persons(
        (of_patient(study.attributes.attributes), study.attributes.character_sets) for study in studies
    ):
        own = [studies[position] for position in person.studies]
        counters = (study.counters for study in own if study.counters is not None)
        counted = patient_counts((each.series, each.instances) for each in counters)
        found.append((PersonView({**person.attributes, **counted}, person.character_sets), own))
    return found


def _view(node: Node, patient_counts: Callable[[Node], Mapping[str, Value]]) -> EntityView:
    """Return the attributes of a study, series or image and of the entities above it."""
    study, by_level = node.above(Level.STUDY), {}
    above: Node | None = node
    while above is not None:
        by_level[above.level] = above.attributes
        above = above.parent
    instances = len(node.above(Level.SERIES).children) if node.level >= Level.SERIES else 0
    return EntityView(by_level, study.counters, instances, lambda: patient_counts(study))
