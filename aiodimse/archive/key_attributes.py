"""C-FIND in an information model that a program keeps itself, such as a worklist in a database."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from pydicom import DataElement, Dataset

from .attributes import element
from .matching import BASELINE, Attributes, Key, Rules, matcher
from .queries import Leniency, supported_keys
from .responses import all_text, choose_character_set


class KeyAttributes:
    """The keys that an Identifier asks for in a one-level model, and the responses (PS3.4 K.4.1.1).

    Matching is that of PS3.4 C.2.2.2. If a date and a time are both ranges, they are combined (PS3.4 K.5).

    Example:
        ```python
        @server.on_c_find(sop_class.ModalityWorklistInformationModelFind)
        async def find(request):
            asked = KeyAttributes(request.identifier, SUPPORTED)
            for row in rows():
                answer = asked.answer({"PatientID": (row.patient_id,), STEPS: ({"Modality": (row.modality,)},)})
                if answer is not None:
                    yield asked.status, answer
        ```
    """

    def __init__(
        self, identifier: Dataset, supported: Collection[str], rules: Rules = BASELINE, *, strict: bool = False
    ) -> None:
        """Read an Identifier.

        Args:
            identifier: The Identifier, as it was decoded.
            supported: The keywords that the model has. An attribute in a sequence is "Sequence.Keyword"; a sequence
                that is named alone is supported with everything in it.
            rules: What extended negotiation added.
            strict: Refuse what is otherwise tolerated, and listed in `tolerated`.

        Raises:
            IdentifierError: The request has to be refused. Status and comment are for `aiodimse.DIMSEFailure`.
        """
        self._supported = frozenset(supported)
        outer = {name.partition(".")[0] for name in supported}
        keys, unsupported, tolerated = supported_keys(identifier, outer, strict=strict)
        self.tolerated: tuple[Leniency, ...] = tolerated
        """What a strict provider would have refused. `request.tolerate` logs a row."""
        names = list(unsupported)
        self.keys: tuple[Key, ...] = tuple(self._within(key, "", names) for key in keys)
        """The supported keys, in the order of their tags."""
        self.unsupported: tuple[str, ...] = tuple(names)
        """The keywords of the other keys, which are neither matched nor returned."""
        self._rules = replace(rules, date_time=True)
        self._matches = matcher(self.keys, self._rules)

    @property
    def status(self) -> int:
        """The status of a match: 0xFF00, or 0xFF01 if a key is not supported (PS3.4 K.4.1.1.4)."""
        return 0xFF01 if self.unsupported else 0xFF00

    def answer(self, attributes: Attributes) -> Dataset | None:
        """Match one entity.

        Args:
            attributes: Its values as text by keyword, each a tuple. A sequence is a tuple of such mappings.

        Returns:
            The Identifier of the response with the keys of the request; None if the entity does not match.
        """
        if not self._matches(attributes):
            return None
        identifier = Dataset()
        if charset := choose_character_set((), all_text(attributes.values())):
            identifier.add(DataElement("SpecificCharacterSet", "CS", list(charset)))
        for key in self.keys:
            identifier.add(element(key, attributes.get(key.keyword, ()), self._rules))
        return identifier

    def _within(self, key: Key, outer: str, unsupported: list[str]) -> Key:
        """Return a key with the supported keys of its item."""
        name = outer + key.keyword
        if name in self._supported or not key.item:
            return key
        within = name + "."
        known = {each[len(within) :].partition(".")[0] for each in self._supported if each.startswith(within)}
        unsupported += (f"{name}.{each.keyword}" for each in key.item if each.keyword not in known)
        kept = tuple(self._within(each, name + ".", unsupported) for each in key.item if each.keyword in known)
        return replace(key, item=kept)
