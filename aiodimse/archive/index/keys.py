"""Which studies belong to one patient."""

from __future__ import annotations

from ..models import Level
from .interface import Header


def patient_key(header: Header) -> tuple[str, ...]:
    """Return what studies of one patient have in common: Patient ID and issuer, and without an ID the name."""
    key = (header.unique(Level.PATIENT), header.text("IssuerOfPatientID"))
    return key if key[0] else (*key, header.text("PatientName"))
