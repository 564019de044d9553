"""Attributes that no object has and the archive counts (PS3.4 Table C.3-1), updated with each object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..matching import Value


@dataclass(slots=True, eq=False, repr=False)
class StudyCounters:
    """The counts of one study."""

    series: int = 0
    instances: int = 0
    modalities: dict[str, int] = field(default_factory=dict)
    """The number of series of each modality."""
    classes: dict[str, int] = field(default_factory=dict)
    """The number of instances of each SOP class."""

    def count_series(self, modality: Value, step: int) -> None:
        """Count a series that is added (step 1) or removed (step -1)."""
        self.series += step
        self.count_modality(modality, step)

    def count_modality(self, modality: Value, step: int) -> None:
        """Count the modality of a series. It may become known after the series was counted."""
        _count(self.modalities, modality, step)

    def count_instance(self, sop_class: str, step: int) -> None:
        """Count an instance that is added (step 1) or removed (step -1)."""
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
        studies: The counts of series and of instances of each study.
    """
    numbers = list(studies)
    return {
        "NumberOfPatientRelatedStudies": (str(len(numbers)),),
        "NumberOfPatientRelatedSeries": (str(sum(series for series, _ in numbers)),),
        "NumberOfPatientRelatedInstances": (str(sum(instances for _, instances in numbers)),),
    }
