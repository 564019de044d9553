"""The objects of the index in memory: the tree of their patients, studies, series and images, and its search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count

from ..matching import Value
from ..models import Level
from ..one_level import OneLevelModel
from ..queries import Query
from .counters import StudyCounters, patient_counts
from .keys import patient_key
from .records import Counts, Entry, Header, OutdatedStudy
from .sourced import SourcedAttributes, persons
from .tree import Node, Siblings
from .views import EntityView, PersonView, View, of_patient


class Entities:
    """The tree of the entities, and a dictionary of UIDs for each level.

    A series that two studies claim, or a study that two Patient IDs claim, is kept as two entities, so that a response
    about one patient never contains images of another. Patient attributes are those of the study's own objects.
    Patients that share an ID are separated by `sourced.persons`. Objects without a Patient ID are found in the Study
    Root model; at the PATIENT level there is one patient for each of their names, which cannot be retrieved as a whole.

    A change ends with `end_change`. Until then an entity that was removed may come back in its old place.
    """

    def __init__(self) -> None:
        self._patients = Siblings()
        self._by_uid: dict[Level, dict[str, tuple[Node, ...]]] = {level: {} for level in Level}
        self._one_level: dict[str, dict[str, Node]] = {}
        """Objects that belong to no study, by model and UID."""
        self._shrunk: list[Siblings] = []
        """Where nodes were removed by the change under way."""
        self._forgotten: list[tuple[Node, SourcedAttributes, set[str]]] = []
        """Studies and series, and the attributes that lost their source by the change under way."""
        self._marks = count(1)

    # --- changing -----------------------------------------------------------------------------------------------------

    def add(self, header: Header) -> None:
        """Add an object whose SOP Instance UID is not there.

        Args:
            header: What was read from the object.
        """
        uid = header.unique(Level.IMAGE)
        if header.model:
            image = Node(Level.IMAGE, (uid,), None)
            self._one_level.setdefault(header.model, {})[uid] = image
            self._by_uid[Level.IMAGE][uid] = (image,)
        else:
            image = self._image_of(header, uid)
        image.attributes = SourcedAttributes(dict(header.levels[Level.IMAGE]), (header.character_set,))
        image.entry = header.entry

    def remove(self, sop_instance_uid: str) -> Entry | None:
        """Remove an object, and a series, study or patient with its last object.

        Args:
            sop_instance_uid: The SOP Instance UID of the object.

        Returns:
            What it was; None: it is not there.
        """
        for image in self._by_uid[Level.IMAGE].get(sop_instance_uid, ()):
            entry = image.entry
            assert entry is not None
            if image.parent is None:
                del self._by_uid[Level.IMAGE][sop_instance_uid]
                for nodes in self._one_level.values():
                    nodes.pop(sop_instance_uid, None)
            else:
                self._remove_image(image, entry)
            return entry
        return None

    def end_change(self) -> None:
        """Give up what was removed and did not come back, and mark the studies that are outdated by it."""
        for node, attributes, forgotten in self._forgotten:
            if node.attributes is attributes and forgotten - attributes.sources.keys():  # it was not removed meanwhile
                node.above(Level.STUDY).outdated = next(self._marks)
        self._forgotten.clear()
        for siblings in self._shrunk:
            siblings.compact()
        self._shrunk.clear()

    def set_current(self, study: OutdatedStudy) -> None:
        """Take the mark from a study, unless it has another one by now."""
        for node in self._by_uid[Level.STUDY].get(study.study_instance_uid, ()):
            if node.outdated == study.mark:
                node.outdated = None

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

    def _child(self, parent: Node | None, level: Level, key: tuple[str, ...]) -> Node:
        siblings = self._patients if parent is None else parent.children
        known = siblings.get(key)
        if known is None:
            known = siblings.add(level, key, parent)
            if key[0]:
                self._by_uid[level][key[0]] = (*self._by_uid[level].get(key[0], ()), known)
        return known

    def _remove_image(self, image: Node, entry: Entry) -> None:
        series, study = image.above(Level.SERIES), image.above(Level.STUDY)
        assert study.counters is not None
        study.counters.count_instance(entry.sop_class_uid, -1)
        if len(series.children) == 1:
            study.counters.count_series(series.attributes.attributes.get("Modality", ()), -1)
        node: Node | None = image
        while node is not None:
            if node.children:
                self._forgotten.append((node, node.attributes, node.attributes.forget(entry.sop_instance_uid)))
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

    # --- searching ----------------------------------------------------------------------------------------------------

    def views(self, query: Query) -> Iterator[View]:
        """Yield what the query is matched against: all entities that its unique keys allow.

        Args:
            query: The query.
        """
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

    def entries(self, query: Query) -> Iterator[Entry | None]:
        """Yield all objects at and below the entities that the unique keys of a query allow. None is none.

        Args:
            query: The query.
        """
        nodes = self._candidates(query) if query.one_level is None else self._of_model(query, query.one_level)
        for node in nodes:
            yield from (image.entry for image in node.below(Level.IMAGE))

    def lookup(self, sop_instance_uid: str) -> Entry | None:
        """Return the object with a SOP Instance UID."""
        nodes = self._by_uid[Level.IMAGE].get(sop_instance_uid, ())
        return nodes[0].entry if nodes else None

    def study_of(self, sop_instance_uid: str) -> str | None:
        """Return the UID of the study of an object; None: the object belongs to none."""
        nodes = self._by_uid[Level.IMAGE].get(sop_instance_uid, ())
        return nodes[0].above(Level.STUDY).key[0] if nodes and nodes[0].parent is not None else None

    def outdated(self) -> list[OutdatedStudy]:
        """Return the studies that are marked as outdated."""
        studies = (study for nodes in self._by_uid[Level.STUDY].values() for study in nodes)
        return [OutdatedStudy(study.key[0], study.outdated) for study in studies if study.outdated is not None]

    def counts(self) -> Counts:
        """Return how many entities there are."""
        return Counts(
            len(self._patients),
            sum(map(len, self._by_uid[Level.STUDY].values())),
            sum(map(len, self._by_uid[Level.SERIES].values())),
            len(self._by_uid[Level.IMAGE]),
        )

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
