"""Cases that stop at each byte of a conversation: an association, a C-STORE and its release.

There they are silent, send FIN, reset the connection, release or abort. Standard library only.

Before there is an association, ARTIM ends the silence without a PDU (AA-2). In an association it is the deadline of the
incomplete PDU or message, or that of an idle association.

A release or an abort after half a PDU is none: its ten bytes are taken for the next bytes of that PDU. If the two
together are invalid, the provider answers at once; otherwise it waits for more. FIN follows an abort, as peers do it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aiodimse.testing.hostile import wire as w
from aiodimse.testing.hostile.case import NEEDS, Case

_HALF = 30  # bytes of the data set in its first P-DATA-TF
_TEN = set(range(1, 11))


@dataclass(frozen=True)
class _Part:
    """A PDU of the conversation, and the state before it."""

    name: str
    state: str
    data: bytes
    wrong_release: set[int]
    """After how many of its bytes a release is invalid at once."""
    wrong_abort: set[int]
    """The same as `wrong_release`, for an abort."""
    answer: str = ""
    """The answer to the whole PDU, after which the association continues."""


# Up to the tenth byte, a release or an abort makes an impossible length, or presentation context 0, 7 (an abort) or 5
# (a release; 5 is that of the C-STORE). After the eleventh byte it makes a message control header: 7, the last fragment
# of a command, or 5, a fragment of a command.
_PARTS = (
    _Part("an A-ASSOCIATE-RQ", "connected", w.associate_rq(), {1, 2}, {1, 2}, "accepted"),
    _Part("a C-STORE-RQ", "associated", w.p_data(w.pdv(5, w.STORE_RQ)), _TEN, _TEN),
    _Part("a data set", "C-STORE open", w.p_data(w.pdv(5, w.IMAGE[:_HALF], 0)), (_TEN - {10}) | {11}, _TEN | {11}),
    _Part(
        "the rest of a data set",
        "half a data set",
        w.p_data(w.pdv(5, w.IMAGE[_HALF:], 2)),
        (_TEN - {10}) | {11},
        _TEN | {11},
        "status 0000",
    ),
    _Part("an A-RELEASE-RQ", "stored", w.RELEASE_RQ, {1, 2, 3, 4, 5}, {1, 2, 3, 4, 5}),
)


def _silence(part: _Part, begun: bool) -> str:
    """Return the answer if nothing follows before the end of the part."""
    if part.state == "connected":
        return "closed"
    return "abort 2/0" if begun or part.state in ("C-STORE open", "half a data set") else "abort 0/0"


def _silence_behind(part: _Part, begun: bool) -> str:
    """Return the answer if nothing follows after the end of the part, or with `begun` only some bytes."""
    if not part.answer:  # in the middle of a message
        return "abort 2/0"
    return f"{part.answer}, abort {'2/0' if begun else '0/0'}"


def _together(part: _Part, at: int, tail: bytes) -> tuple[str, bool]:
    """Return the answer to the first bytes of a part and then `tail`, and whether a deadline has to pass for it."""
    provider = "0" if part.state == "connected" else "2"
    if at == 0:
        return ("closed" if tail == w.ABORT else "released" if provider == "2" else "abort 0/0"), False
    if at in (part.wrong_abort if tail == w.ABORT else part.wrong_release):
        return ("abort 2/6" if provider == "2" else "abort 0/0"), False
    if (left := len(part.data) - at) > len(tail):
        return _silence(part, begun=True), True
    if part.data == w.RELEASE_RQ:
        return "released", False  # the last four bytes are reserved, and not tested
    behind = tail[left:]  # what follows the PDU
    if behind.startswith(b"\0"):
        # An invalid PDU type. A response that waits for its handler is no longer sent.
        return ("accepted, " if part.answer == "accepted" else "") + "abort 2/1", False
    return _silence_behind(part, begun=bool(behind)), True


def _case(how: str, part: _Part, at: int) -> Case:
    family = f"{how} behind each byte of {part.name}"
    needs = NEEDS.get(part.state, 5 if part.state == "associated" else 1)
    tail, then, waits, expect = b"", how.lower(), False, "closed"
    if how == "silence":
        then, waits, expect = "", True, _silence(part, begun=at > 0)
    elif how == "release":
        tail, then = w.RELEASE_RQ, ""
        expect, waits = _together(part, at, tail)
    elif how == "abort":
        tail, then = w.ABORT, "fin"
        expect, waiting = _together(part, at, tail)
        if waiting:  # FIN ends the waiting
            answered = part.answer if at + len(tail) >= len(part.data) else ""
            expect = f"{answered}, closed or closed" if answered else "closed"  # it depends on which is faster
    return Case(
        f"{family}: {at}",
        part.state,
        part.data[:at] + tail,
        expect,
        then=then,
        waits=waits,
        needs=needs,
        family=family,
        at=at,
    )


def every_byte() -> Iterator[Case]:
    """Yield the cases, family by family."""
    for part in _PARTS:
        for how in ("silence", "FIN", "reset", "release", "abort"):
            for at in range(len(part.data)):
                yield _case(how, part, at)
