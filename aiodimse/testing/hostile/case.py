"""What a case is, and the states that cases begin in. Standard library only.

What must come, in order, with commas between: "abort S/R" (A-ABORT with source and reason), "reject R/S/R" or
"released", each with the close after it; "closed" where no PDU is due before the close; "accepted", "status XXXX" (a
response) or "served", after which the association goes on: a C-ECHO is answered and a release too. Answers in Sta2 are
AA-1 of PS3.8 Table 9-10 (0/0), those of an association AA-8 (source 2). " or " is between what may come as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiodimse.testing.hostile import wire as w


@dataclass(frozen=True)
class Case:
    """What is sent, in which state, and what must come."""

    name: str
    state: str
    send: bytes
    expect: str
    step: int = 0
    """Bytes in one write; 0 is all of them."""
    every: float = 0.0
    """Seconds between two writes; such bytes are sent over and over, until the connection ends."""
    then: str = ""
    """fin, reset: what is done to the connection after that."""
    waits: bool = False
    """The provider answers when one of its deadlines passes."""
    needs: int = 1
    """The presentation context that the provider has to have accepted: 1 Verification, 3 C-FIND, 5 CT storage."""
    family: str = ""
    """Cases of one family differ in the byte that they stop at; a report has one line for those that went alike."""
    at: int = 0
    """That byte."""

    @property
    def goes_on(self) -> bool:
        """The association is of use after it."""
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
"""The states, and what is sent to come there; all but the first, rejected and aborted after an association is made."""
NOT_ASSOCIATED = ("connected", "rejected", "aborted")
OVER = ("rejected", "aborted", "released")
ANSWERED = (*OVER, "stored")
"""States that are come to when the provider has answered."""
NEEDS = {"data set due": 3, "C-STORE open": 5, "half a data set": 5, "stored": 5}


def setup(state: str) -> bytes:
    """What is sent to come into a state."""
    return SETUPS[state]
