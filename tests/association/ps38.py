"""What the tests of the state machine share: the tables of PS3.8 9.2 written by hand, and one PDU of each kind."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass, field
from pathlib import Path

from aiodimse.association import DropTransport, Event, Machine, MachineEvent, State
from aiodimse.config import Timeouts
from aiodimse.errors import LocalProtocolError, PDUDecodeError
from aiodimse.pdu import (
    Abort,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    ContextResult,
    DataHeader,
    MaximumLength,
    ProposedContext,
    ReleaseRP,
    ReleaseRQ,
    UserInformation,
    pdus,
)

DATA = Path(__file__).parents[1] / "data"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
VERIFICATION = "1.2.840.10008.1.1"
LENGTH = UserInformation((MaximumLength(16384),))

RQ = AssociateRQ("THERE", "HERE", (ProposedContext(1, VERIFICATION, (IMPLICIT,)),), LENGTH)
AC = AssociateAC("THERE", "HERE", (ContextResult(1, 0, IMPLICIT),), LENGTH)
RJ = AssociateRJ(1, 1, 7)
ABORT = Abort(2, 1)
BAD = PDUDecodeError("no such PDU", field="PDU-type", offset=0, reason=1)
TIMEOUTS = Timeouts(artim=30, close=10, close_after_abort=1, release=20)

# PS3.8 Tables 9-6 to 9-9 once more, by hand: what is sent, what is told, ARTIM, next state (requestor/acceptor).
ACTIONS = """
AE-1   -               -                          -      Sta4
AE-2   A-ASSOCIATE-RQ  -                          -      Sta5
AE-3   -               AcceptedConfirmation       -      Sta6
AE-4   -               RejectedConfirmation       -      Sta1
AE-5   -               -                          start  Sta2
AE-6   -               RequestedIndication        stop   Sta3
AE-7   A-ASSOCIATE-AC  -                          -      Sta6
AE-8   A-ASSOCIATE-RJ  -                          start  Sta13
DT-1   P-DATA-TF       -                          -      Sta6
DT-2   -               -                          -      Sta6
AR-1   A-RELEASE-RQ    -                          -      Sta7
AR-2   -               ReleaseIndication          -      Sta8
AR-3   -               ReleaseConfirmation        -      Sta1
AR-4   A-RELEASE-RP    -                          start  Sta13
AR-5   -               -                          stop   Sta1
AR-6   -               -                          -      Sta7
AR-7   P-DATA-TF       -                          -      Sta8
AR-8   -               ReleaseIndication          -      Sta9/Sta10
AR-9   A-RELEASE-RP    -                          -      Sta11
AR-10  -               ReleaseConfirmation        -      Sta12
AA-1   A-ABORT         -                          start  Sta13
AA-2   -               -                          stop   Sta1
AA-3   -               AbortIndication            -      Sta1
AA-4   -               TransportClosedIndication  -      Sta1
AA-5   -               -                          stop   Sta1
AA-6   -               -                          -      Sta13
AA-7   -               -                          -      Sta13
AA-8   A-ABORT         AbortIndication            start  Sta13
"""
TERMINAL = ("AE-4", "AR-3", "AA-3", "AA-4", "AA-8")
"""Actions that tell the local user that there is no association any more."""


@dataclass(frozen=True)
class Row:
    name: str
    send: str
    tell: str
    artim: str
    next: str

    def next_state(self, role: str) -> State:
        return State[self.next.split("/")[-1 if role == "acceptor" else 0].upper()]

    def drops(self, state: State) -> bool:
        return self.next == "Sta1" and state is not State.STA1


@functools.cache
def read_actions() -> dict[str, Row]:
    rows = (Row(*line.split()) for line in ACTIONS.strip().splitlines())
    return {row.name: row for row in rows}


@functools.cache
def read_table() -> dict[tuple[Event, State], str]:
    with (DATA / "standard" / "ul_state_table.csv").open(newline="") as file:
        return {
            (Event[row["event"].upper()], state): row[state.name.title()]
            for row in csv.DictReader(file)
            for state in State
        }


@dataclass
class Seen:
    """What one call made a machine do."""

    sent: list[str]
    told: list[MachineEvent]
    raised: bool = False
    pdus: list[object] = field(default_factory=list)

    @property
    def indications(self) -> list[str]:
        return [type(e).__name__ for e in self.told if type(e).__name__ not in ("CloseTransport", "DropTransport")]

    @property
    def dropped(self) -> bool:
        return DropTransport() in self.told


def seen(machine: Machine, *, raised: bool = False) -> Seen:
    """Everything that waits to come out of a machine."""
    out = [pdus.decode(sent) for sent in machine.take_output()]
    told = []
    while (event := machine.next_event()) is not None:
        told.append(event)
    return Seen([pdus.NAMES[pdus.encode(pdu)[0]] for pdu in out], told, raised, list(out))


def fire(machine: Machine, event: Event, now: float = 0.0) -> Seen:
    """One event by the way it really comes, where its role has that way."""
    E = Event
    ways = {
        E.EVT3: lambda: machine.receive(AC, now),
        E.EVT4: lambda: machine.receive(RJ, now),
        E.EVT6: lambda: machine.receive(RQ, now),
        E.EVT7: lambda: machine.accept(AC, now),
        E.EVT8: lambda: machine.reject(RJ, now),
        E.EVT9: lambda: machine._step(E.EVT9, now, pdus.PDataTF((pdus.PDV(1, True, True, b"1234"),))),
        E.EVT10: lambda: machine.receive(DataHeader(6), now),
        E.EVT11: lambda: machine.release(now),
        E.EVT12: lambda: machine.receive(ReleaseRQ(), now),
        E.EVT13: lambda: machine.receive(ReleaseRP(), now),
        E.EVT14: lambda: machine.respond_release(now),
        E.EVT15: lambda: machine.abort(now),
        E.EVT16: lambda: machine.receive(ABORT, now),
        E.EVT17: lambda: machine.transport_closed(now),
        E.EVT19: lambda: machine.receive(BAD, now),
    }
    if machine.role == "requestor":
        ways |= {E.EVT1: lambda: machine.associate(RQ, now), E.EVT2: lambda: machine.transport_connected(now)}
    else:
        ways |= {E.EVT5: lambda: machine.transport_connected(now)}
    try:
        ways.get(event, lambda: machine._step(event, now))()
    except LocalProtocolError:
        return seen(machine, raised=True)
    return seen(machine)


def machine_in(state: State, role: str) -> Machine:
    """A machine put into a state that its role may never see."""
    machine = Machine(role, timeouts=TIMEOUTS)  # type: ignore[arg-type]
    machine._rq = pdus.encode(RQ)
    machine._enter(state)
    if state in (State.STA2, State.STA13):
        machine._artim_running, machine._artim_deadline = True, 5.0
    return machine
