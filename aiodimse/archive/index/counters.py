"""What no object holds and the archive counts (PS3.4 Table C.3-1), kept while objects come and go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..matching import Value


@dataclass(slots=True, eq=False, repr=False)
class StudyCounters:
    """The numbers of one study."""

    series: int = 0
    instances: int = 0
    modalities: dict[str, int] = field(default_factory=dict)
    """How many series have a modality."""
    classes: dict[str, int] = field(default_factory=dict)
    """How many instances have a SOP class."""

    def count_series(self, modality: Value, step: int) -> None:
        """Count a series that comes (step 1) or goes (-1)."""
        self.series += step
        self.count_modality(modality, step)

    def count_modality(self, modality: Value, step: int) -> None:
        """Count the modality of a series, which may come after the series itself."""
        _count(self.modalities, modality, step)

    def count_instance(self, sop_class: str, step: int) -> None:
        """Count an instance that comes or goes."""
        self.instances += step
        _count(self.classes, (sop_class,), step)

    def value(self, keyword: str) -> Value:
        """Return the value of a counted attribute of the STUDY level."""
        if keyword == "ModalitiesInStudy":
            return tuple(sorted(self.modalities))
        if keyword == "SOPClassesInStudy":
            return tuple(sorted(self.classes))
        return (str(self.series if keyword == "NumberOfStudyRelatedSeries" else self.instances),)


def _count(numbers: dict[str, int], value: Value, step: int) -> None:
    for text in dict.fromkeys(value if value and isinstance(value[0], str) else ()):
        if isinstance(text, str) and text:
            numbers[text] = numbers.get(text, 0) + step
            if not numbers[text]:
                del numbers[text]


def patient_counts(studies: Iterable[tuple[int, int]]) -> dict[str, Value]:
    """Return the counted attributes of the PATIENT level.

    Args:
        studies: The numbers of series and of instances of each study.
    """
    numbers = list(studies)
    return {
        "NumberOfPatientRelatedStudies": (str(len(numbers)),),
        "NumberOfPatientRelatedSeries": (str(sum(series for series, _ in numbers)),),
        "NumberOfPatientRelatedInstances": (str(sum(instances for _, instances in numbers)),),
    }
