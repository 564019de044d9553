"""The nodes that the index in memory consists of: patients, studies, series and images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..models import Level
from .counters import StudyCounters
from .records import Entry
from .sourced import SourcedAttributes


class Siblings:
    """The nodes below one node, by key. A search can go through them while objects come and go.

    A node that is removed keeps its place until `compact` is called. If its object is stored again before that, the
    node is used again in its old place, so that a search that goes on finds the object exactly once.
    """

    __slots__ = ("_nodes", "_places", "_removed")

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._places: dict[tuple[str, ...], int] = {}
        self._removed = 0

    def __len__(self) -> int:
        return len(self._nodes) - self._removed

    def __iter__(self) -> Iterator[Node]:
        """Yield the nodes that were there at the start and still are. Those that come meanwhile are left out."""
        nodes = self._nodes
        for place in range(len(nodes)):
            if nodes[place].is_present:
                yield nodes[place]

    def get(self, key: tuple[str, ...]) -> Node | None:
        """Return the node of a key; None: there is none."""
        place = self._places.get(key)
        return self._nodes[place] if place is not None and self._nodes[place].is_present else None

    def add(self, level: Level, key: tuple[str, ...], parent: Node | None) -> Node:
        """Return a new node for a key that has none."""
        place = self._places.get(key)
        if place is None:
            self._places[key] = len(self._nodes)
            self._nodes.append(Node(level, key, parent))
            return self._nodes[-1]
        self._removed -= 1
        self._nodes[place].is_present = True
        return self._nodes[place]

    def remove(self, node: Node) -> None:
        """Remove a node, which keeps nothing but its place."""
        self._removed += 1
        node.is_present = False
        node.attributes, node.counters, node.entry, node.outdated = SourcedAttributes(), None, None, None

    def compact(self) -> None:
        """Give up the places of removed nodes if they are the most. A search that goes on keeps the old list."""
        if self._removed > len(self):
            self._nodes = [node for node in self._nodes if node.is_present]
            self._places = {node.key: place for place, node in enumerate(self._nodes)}
            self._removed = 0


_NOTHING = Siblings()
"""What is below an image."""


@dataclass(slots=True, eq=False, repr=False)
class Node:
    """A patient, study, series or image, and what is below it."""

    level: Level
    key: tuple[str, ...]
    parent: Node | None
    children: Siblings = field(init=False)
    attributes: SourcedAttributes = field(default_factory=SourcedAttributes)
    counters: StudyCounters | None = None
    """The counts of a study; None at other levels."""
    entry: Entry | None = None
    """The entry of an image; None at other levels."""
    outdated: int | None = None
    """The mark of an outdated study; None: it is current."""
    is_present: bool = True
    """False: the node was removed."""

    def __post_init__(self) -> None:
        self.children = _NOTHING if self.level == Level.IMAGE else Siblings()

    def below(self, level: Level) -> Iterator[Node]:
        """Yield this node, or those below it at a level."""
        if self.level == level:
            yield self
        else:
            for child in self.children:
                yield from child.below(level)

    def above(self, level: Level) -> Node:
        """Return this node, or the one above it at a level."""
        node = self
        while node.level != level:
            assert node.parent is not None
            node = node.parent
        return node
