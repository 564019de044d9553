"""Repository Query: a C-FIND in the Study Root model that can continue where an earlier one ended (PS3.4 C.6.4)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import sha256

from pydicom import Dataset

from aiodimse import leniency

from .index import Match
from .matching import BASELINE, Rules
from .models import STUDY_ROOT, UNIQUE, Level
from .queries import IdentifierError, Query, find_query

_PRIOR_RECORD_KEY, _MAXIMUM = 0x0008041C, 0x00080429
_DIGEST, _UID = 32, 64
"""Bytes of a digest, and of a UID at most."""
_OWN = frozenset({"RecordKey", "PriorRecordKey", "MaximumNumberOfRecords"})


@dataclass(frozen=True, slots=True)
class RepositoryQuery:
    """A checked Identifier of a Repository Query."""

    query: Query
    """The query for the index."""
    is_keyed: bool
    """Whether each response has a Record Key (0008,041B)."""
    after: bytes | None = field(default=None, repr=False)
    """The Record Key after which the responses begin; None: begin with the first one."""
    most: int | None = None
    """The largest number of responses that is wanted; None: all."""

    @property
    def tolerated(self) -> tuple[leniency.Leniency, ...]:
        """What a strict archive would have refused."""
        return self.query.tolerated

    def record_key(self, match: Match) -> bytes:
        """Return the Record Key of an entity: a digest of its Unique Key and of those above it, and its study.

        It is valid while the entity is in the index. Records have the order of the index, which begins at the study.

        Args:
            match: The entity.
        """
        found = {keyword: match.attributes.get(keyword, ()) for keyword in self.query.extra}
        path = "\\".join(str(value[0]) if value else "" for value in found.values())
        study = str(found[UNIQUE[Level.STUDY]][0]).encode("utf-8", "replace")
        is_short = len(study) <= _UID and study.isascii() and b"\0" not in study  # a peer may have sent anything
        return sha256(path.encode("utf-8", "replace")).digest() + (study if is_short else b"")


def repository_query(identifier: Dataset, rules: Rules = BASELINE, *, strict: bool = False) -> RepositoryQuery:
    """Check the Identifier of a Repository Query (PS3.4 C.6.4.3).

    Args:
        identifier: The Identifier, as it was decoded.
        rules: What extended negotiation added.
        strict: Refuse what is otherwise tolerated.

    Returns:
        The checked query.

    Raises:
        IdentifierError: The request has to be refused; with A710 if its Prior Record Key is not one of ours.
    """
    query = find_query(identifier, STUDY_ROOT, rules, strict=strict)
    path = (Level.PATIENT, *STUDY_ROOT.above(query.level), query.level)
    unsupported = tuple(keyword for keyword in query.unsupported if keyword not in _OWN)
    after = _prior_record_key(identifier)
    begin = "" if after is None else after[_DIGEST:].decode("ascii")
    return RepositoryQuery(
        replace(query, unsupported=unsupported, extra=tuple(UNIQUE[level] for level in path), begin=begin),
        "RecordKey" in identifier,
        after,
        _most(identifier),
    )


def _prior_record_key(identifier: Dataset) -> bytes | None:
    if _PRIOR_RECORD_KEY not in identifier:
        return None
    value = identifier.get_item(_PRIOR_RECORD_KEY, keep_deferred=True)
    key = getattr(value, "value", None)
    if not key:
        return None
    if not isinstance(key, bytes) or not _DIGEST <= len(key) <= _DIGEST + _UID or not key[_DIGEST:].isascii():
        raise IdentifierError("not a Record Key of this archive", _PRIOR_RECORD_KEY, status=0xA710)
    return key[:_DIGEST] + key[_DIGEST:].rstrip(b"\0")  # a value of VR OB is padded


def _most(identifier: Dataset) -> int | None:
    if _MAXIMUM not in identifier:
        return None
    try:
        value = identifier[_MAXIMUM].value
        most = None if value is None or value == "" else int(value)
    except Exception:  # pydicom raises many kinds of errors for a bad value
        raise IdentifierError("MaximumNumberOfRecords is not a number", _MAXIMUM) from None
    if most is not None and most < 0:  # the peer says of what VR it is
        raise IdentifierError("MaximumNumberOfRecords is less than 0", _MAXIMUM)
    return most or None
