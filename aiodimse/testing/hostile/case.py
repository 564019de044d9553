"""What a case is, and the states in which cases begin. Standard library only.

The expected answers are separated by commas, in order. These end the connection: "abort S/R" (A-ABORT with source and
reason), "reject R/S/R", "released", and "closed" if no PDU comes before the end. These do not: "accepted", "status
XXXX" (a response) and "served"; after them a C-ECHO and a release must be answered. An answer in Sta2 is that of AA-1
in PS3.8 Table 9-10 (0/0), an answer in an association that of AA-8 (source 2). " or " separates alternatives.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiodimse.testing.hostile import wire as w


@dataclass(frozen=True)
class Case:
    """What is sent, in which state, and which answers must come."""

    name: str
    state: str
    send: bytes
    expect: str
    step: int = 0
    """Bytes in one write; 0: all of them."""
    every: float = 0.0
    """Seconds between two writes. If not 0, the bytes are sent again and again until the connection ends."""
    then: str = ""
    """What is done to the connection after that: "fin", "reset" or nothing."""
    waits: bool = False
    """Whether the provider answers only when one of its deadlines passes."""
    needs: int = 1
    """The presentation context that the provider must have accepted: 1 Verification, 3 C-FIND, 5 CT storage."""
    family: str = ""
    """Cases of a family differ in the byte at which they stop. A report has one line for those with equal results."""
    at: int = 0
    """The byte at which the case stops."""

    @property
    def goes_on(self) -> bool:
        """Whether the association can still be used after the case."""
        return self.expect.split(", ")[-1].split()[0] in ("accepted", "status", "served")


SETUPS = {
    "connected": b"",
    "associated": b"",
    "half a command": w.p_data(w.pdv(1, w.ECHO[:20], 1)),
    "data set due": w.p_data(w.pdv(3, w.FIND_RQ)),
    "C-STORE open": w.p_data(w.pdv(5, w.STORE_RQ)),
    "half a data set": w.p_data(w.pdv(5, w.STORE_RQ)) + w.p_data(w.pdv(5, w.IMAGE[:30], 0)),
    "stored": w.p_data(w.pdv(5, w.STORE_RQ)) + w.p_data(w.pdv(5, w.IMAGE, 2)),
    "rejected": w.associate_rq(version=0),
    "aborted": b"\x99" * 6,
    "released": w.RELEASE_RQ,
}
"""The states, and the bytes that lead to them. For "connected", "rejected" and "aborted" no association is made."""
NOT_ASSOCIATED = ("connected", "rejected", "aborted")
OVER = ("rejected", "aborted", "released")
ANSWERED = (*OVER, "stored")
"""States that are reached when the provider has answered."""
NEEDS = {"data set due": 3, "C-STORE open": 5, "half a data set": 5, "stored": 5}


def setup(state: str) -> bytes:
    """Return the bytes that lead to a state."""
    return SETUPS[state]
