"""What identifies a patient, and how objects are split into batches before they are indexed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..models import Level
from .records import Header

_ISSUER, _NAME = 64, 3 * 64
"""The longest issuer, and the longest name in three component groups, in characters (PS3.5 6.2)."""


def patient_key(header: Header) -> tuple[str, ...]:
    """Return what identifies a patient: Patient ID and issuer, or without an ID the name.

    Of an issuer or a name that is longer than the standard allows, the beginning counts: PostgreSQL cannot look up
    longer texts.
    """
    key = (header.unique(Level.PATIENT), header.text("IssuerOfPatientID")[:_ISSUER])
    return key if key[0] else (*key, header.text("PatientName")[:_NAME])


def distinct_batches(headers: Iterable[Header]) -> Iterator[list[Header]]:
    """Yield the headers in lists in which no two headers have the same UID or the same location.

    An index removes everything that such a list replaces before it adds the list.
    """
    batch: list[Header] = []
    uids, locations = set[str](), set[str]()
    for header in headers:
        uid = header.unique(Level.IMAGE)
        if uid in uids or header.location in locations:
            yield batch
            batch, uids, locations = [], set(), set()
        batch.append(header)
        uids.add(uid)
        locations.add(header.location)
    if batch:
        yield batch
