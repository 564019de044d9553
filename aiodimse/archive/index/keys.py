"""What has to be told apart before objects are indexed: patients, and objects of one batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..models import Level
from .interface import Header


def patient_key(header: Header) -> tuple[str, ...]:
    """Return what studies of one patient have in common: Patient ID and issuer, and without an ID the name."""
    key = (header.unique(Level.PATIENT), header.text("IssuerOfPatientID"))
    return key if key[0] else (*key, header.text("PatientName"))


def apart(headers: Iterable[Header]) -> Iterator[list[Header]]:
    """Yield the headers in lists in which no UID and no location comes twice.

    Of such a list all that it replaces is forgotten before any of it is added.
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
