"""How old and how large studies are, from the files of an index in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from .records import File, Finding, StudyAge


def study_ages(
    study_of: Callable[[str], str | None], files: Iterable[File], received: Mapping[str, int]
) -> list[StudyAge]:
    """Return the ages of all studies.

    Args:
        study_of: Returns the study of a SOP Instance UID; None: the object belongs to no study.
        files: All files.
        received: When studies were last received.
    """
    studies: dict[str, tuple[int, int]] = {}
    for file in files:
        study = study_of(file.sop_instance_uid) if file.finding == Finding.OBJECT else None
        if study is not None:
            modified, size = studies.get(study, (received.get(study, 0), 0))
            studies[study] = max(modified, file.modified), size + file.size
    return [StudyAge(uid, modified, size) for uid, (modified, size) in studies.items()]


def oldest(ages: Iterable[StudyAge], limit: int, after: StudyAge | None) -> list[StudyAge]:
    """See `Index.oldest_studies`."""
    later = [each for each in ages if after is None or _order(each) > _order(after)]
    return sorted(later, key=_order)[:limit]


def _order(age: StudyAge) -> tuple[int, str]:
    return age.modified, age.study_instance_uid
