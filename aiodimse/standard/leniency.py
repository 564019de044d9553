"""The broken rules that the library tolerates in peers, one row each.

The library tolerates a broken rule only where that can neither lose an instance nor confuse it with another. The code
that tolerates it reports a `Tolerated` with the row; `strict` turns all of them off. docs/reference/leniencies.md is
generated from this table.
"""

from __future__ import annotations

from typing import NamedTuple


class Leniency(NamedTuple):
    """One rule that a peer may break without consequences."""

    key: str
    """Names the row in the log, as in "response-after-final"."""
    tolerated: str
    """What the peer does wrong."""
    done: str
    """What happens instead of the error that the rule asks for."""
    peers: str
    """Products that are known to do so; "" where none is known by name."""
    section: str
    """The section of the rule, as in "PS3.8 9.3.2"."""

    def __str__(self) -> str:
        return self.key


class Tolerated(NamedTuple):
    """Reports that a leniency was applied once."""

    leniency: Leniency
    detail: str = ""
    """Details for the log, for example the name of the element: escaped, and without patient data."""

    def __str__(self) -> str:
        return f"{self.leniency.tolerated}{f' ({self.detail})' if self.detail else ''}; {self.leniency.done}"


# --- A-ASSOCIATE PDUs -------------------------------------------------------------------------------------------------

AE_TITLE_AFTER_NUL = Leniency(
    "ae-title-after-nul",
    "an AE title had further bytes behind a NUL",
    "the title ends at the first NUL",
    "eFilm",
    "PS3.8 9.3.2",
)
ASSOCIATE_SUB_ITEM = Leniency(
    "associate-sub-item",
    "a user information sub-item of an A-ASSOCIATE PDU had fields that do not decode",
    "the sub-item is skipped, as if it had not been there; not so for user identity",
    "",
    "PS3.8 9.3.2.3, PS3.7 D.3.3",
)
ASSOCIATE_SUB_ITEM_PADDING = Leniency(
    "associate-sub-item-padding",
    "a user information sub-item of an A-ASSOCIATE PDU was longer than its fields",
    "the bytes behind its fields are skipped",
    "",
    "PS3.8 9.3.2.3, PS3.7 D.3.3",
)
CONTEXT_UID = Leniency(
    "context-uid",
    "a presentation context named a UID that is not ASCII or over 64 characters long",
    "this context is refused with result 3, abstract-syntax-not-supported",
    "",
    "PS3.8 9.3.2.2, F.1",
)

# --- roles ------------------------------------------------------------------------------------------------------------

ROLE_ITEM_MISSING = Leniency(
    "role-item-missing",
    "a C-STORE sub-operation of a C-GET, or an N-EVENT-REPORT, needs a role that the peer sent no item for",
    "it is invoked or performed all the same",
    "ConQuest and Inobitec as providers of C-GET, Horos as its user",
    "PS3.7 D.3.3.4",
)

# --- command sets -----------------------------------------------------------------------------------------------------

ELEMENT_TWICE = Leniency(
    "element-twice",
    "an element came twice in the command set of a response",
    "the first one counts",
    "",
    "PS3.7 6.3.1",
)
MORE_VALUES = Leniency(
    "more-values",
    "an element in the command set of a response had more than one value",
    "the first value counts",
    "",
    "PS3.7 E.1",
)
PRIORITY = Leniency(
    "priority",
    "a request had a priority that is not defined",
    "it is taken as MEDIUM",
    "",
    "PS3.7 E.1",
)

# --- operations -------------------------------------------------------------------------------------------------------

RESPONSE_AFTER_FINAL = Leniency(
    "response-after-final",
    "a further final response came to an operation that had ended: one that was cancelled, or a Repository Query "
    "that ended with B001",
    "it is dropped",
    "pynetdicom 3.0: Repository Query, 0000 behind B001",
    "PS3.7 9.3.2",
)

RESPONSE_CONTEXT = Leniency(
    "response-context",
    "a response came in another presentation context than its request",
    "the message ID says to which request it belongs",
    "",
    "PS3.8 9.3.1",
)
RESPONSE_INSTANCE = Leniency(
    "response-instance",
    "a response named another SOP instance than its request",
    "the message ID says to which request it belongs; not so if another open request has that instance",
    "",
    "PS3.7 9.1.1.1, 10.1",
)

# --- data sets that are decoded ---------------------------------------------------------------------------------------

DATASET_PADDING = Leniency(
    "dataset-padding",
    "a data set had NULs behind its last element",
    "they are left out",
    "",
    "PS3.5 7.1",
)
FOREIGN_ELEMENT = Leniency(
    "foreign-element",
    "a data set had an element of group 0000 or 0002, at its top or in an item",
    "the element is dropped",
    "",
    "PS3.7 6.3, PS3.10 7.1",
)

# --- Identifiers of requests to an archive ----------------------------------------------------------------------------

MISSING_UNIQUE_KEY = Leniency(
    "missing-unique-key",
    "a unique key above the Query/Retrieve Level was missing or empty",
    "it is taken as a universal key",
    "dcmjs, dicomtrolley, PixelMed",
    "PS3.4 C.4.1.3.1, C.4.2.2.1",
)
LISTED_UNIQUE_KEY = Leniency(
    "listed-unique-key",
    "a unique key above the Query/Retrieve Level had several values or wild cards",
    "it matches any of them",
    "",
    "PS3.4 C.4.1.3.1, C.4.2.2.1",
)
LOWER_CASE_LEVEL = Leniency(
    "lower-case-level",
    "a Query/Retrieve Level was in lower case",
    "it is read in upper case",
    "",
    "PS3.4 C.4.1.1.3.1",
)
ANY_DATE = Leniency(
    "any-date",
    'a date or time of a query was "*" or "-"',
    "it matches everything, as an empty key does",
    "",
    "PS3.4 C.2.2.2.4, C.2.2.2.5",
)
UNDECODABLE_MATCH = Leniency(
    "undecodable-match",
    "the data set of a Pending C-FIND response did not decode",
    "the match is skipped, and kept in Find.undecodable; the others are handed out",
    "",
    "PS3.4 C.4.1.3",
)

ALL: tuple[Leniency, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Leniency))
"""Every row."""
