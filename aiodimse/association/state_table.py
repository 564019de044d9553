"""The upper layer state machine of PS3.8 9.2 as rows: states, events, the 28 actions, Table 9-10. No behavior.

The machine that walks it is machine.py. An empty cell is shown as a dot.
"""

from enum import Enum, IntEnum, auto
from typing import NamedTuple


class State(IntEnum):
    """PS3.8 Tables 9-1 to 9-5."""

    # fmt: off
    STA1  = 1   # idle
    STA2  = 2   # acceptor: transport connection open, awaiting A-ASSOCIATE-RQ
    STA3  = 3   # acceptor: awaiting the local A-ASSOCIATE response
    STA4  = 4   # requestor: awaiting the transport connection
    STA5  = 5   # requestor: awaiting A-ASSOCIATE-AC or -RJ
    STA6  = 6   # association established, ready for data transfer
    STA7  = 7   # awaiting A-RELEASE-RP
    STA8  = 8   # awaiting the local A-RELEASE response
    STA9  = 9   # release collision, requestor: awaiting the local A-RELEASE response
    STA10 = 10  # release collision, acceptor: awaiting A-RELEASE-RP
    STA11 = 11  # release collision, requestor: awaiting A-RELEASE-RP
    STA12 = 12  # release collision, acceptor: awaiting the local A-RELEASE response
    STA13 = 13  # awaiting the close of the transport connection: the association is no more
    # fmt: on


class Event(IntEnum):
    """The 19 events of PS3.8 Table 9-10. "local" is a primitive of the local user, "PDU" comes from the peer."""

    # fmt: off
    EVT1  = 1   # local  A-ASSOCIATE request
    EVT2  = 2   #        transport connect confirmation
    EVT3  = 3   # PDU    A-ASSOCIATE-AC
    EVT4  = 4   # PDU    A-ASSOCIATE-RJ
    EVT5  = 5   #        transport connection indication
    EVT6  = 6   # PDU    A-ASSOCIATE-RQ
    EVT7  = 7   # local  A-ASSOCIATE response, accept
    EVT8  = 8   # local  A-ASSOCIATE response, reject
    EVT9  = 9   # local  P-DATA request
    EVT10 = 10  # PDU    P-DATA-TF
    EVT11 = 11  # local  A-RELEASE request
    EVT12 = 12  # PDU    A-RELEASE-RQ
    EVT13 = 13  # PDU    A-RELEASE-RP
    EVT14 = 14  # local  A-RELEASE response
    EVT15 = 15  # local  A-ABORT request
    EVT16 = 16  # PDU    A-ABORT
    EVT17 = 17  #        transport connection closed
    EVT18 = 18  #        ARTIM timer expired
    EVT19 = 19  # PDU    unrecognized or invalid
    # fmt: on


class Send(Enum):
    """The PDU that an action sends."""

    A_ASSOCIATE_RQ = auto()
    A_ASSOCIATE_AC = auto()
    A_ASSOCIATE_RJ = auto()
    P_DATA_TF = auto()
    A_RELEASE_RQ = auto()
    A_RELEASE_RP = auto()
    A_ABORT_USER = auto()
    """From the local user, or source and reason 0/0 where the peer's fault came before any association (AA-1)."""
    A_ABORT_PROVIDER = auto()
    """Source 2 with a reason (AA-8)."""


class Tell(Enum):
    """The primitive that an action issues to the local user."""

    A_ASSOCIATE_INDICATION = auto()
    A_ASSOCIATE_ACCEPTED = auto()
    A_ASSOCIATE_REJECTED = auto()
    P_DATA_INDICATION = auto()
    A_RELEASE_INDICATION = auto()
    A_RELEASE_CONFIRMATION = auto()
    A_ABORT_INDICATION = auto()
    """A-ABORT or A-P-ABORT indication, as the source says: the peer's A-ABORT, or ours for its fault."""
    TRANSPORT_CLOSED = auto()
    """A-P-ABORT indication without a PDU: the transport connection went away."""


class Artim(Enum):
    """What an action does to the ARTIM timer (PS3.8 9.1.5)."""

    START = auto()
    """Or restart."""
    STOP = auto()


class Transport(Enum):
    """What an action does to the transport connection."""

    OPEN = auto()
    FINISH = auto()
    """Send FIN at once, read and discard: our last PDU is out and the peer is to close (docs/topics/flow.md).
    PS3.8 only awaits the peer's close here; a peer that reads to the end of the stream is told so earlier."""
    DROP = auto()
    """The connection is closed, or to be closed now."""


class Action(NamedTuple):
    """A row of PS3.8 Tables 9-6 to 9-9."""

    name: str
    next_state: State
    send: Send | None = None
    tell: Tell | None = None
    artim: Artim | None = None
    transport: Transport | None = None
    otherwise: str | None = None
    """AE-6 alone: the action in its stead if the A-ASSOCIATE-RQ is not acceptable to the service provider."""
    acceptor_state: State | None = None
    """AR-8 alone: the next state of an association acceptor."""


def _rows() -> dict[str, Action]:
    # fmt: off
    start, stop = Artim.START, Artim.STOP
    open_, finish, drop = Transport.OPEN, Transport.FINISH, Transport.DROP
    S, A = State, Action
    rows = (
        # Table 9-6: association establishment
        A("AE-1",  S.STA4,                                                              transport=open_),
        A("AE-2",  S.STA5,  send=Send.A_ASSOCIATE_RQ),
        A("AE-3",  S.STA6,  tell=Tell.A_ASSOCIATE_ACCEPTED),
        A("AE-4",  S.STA1,  tell=Tell.A_ASSOCIATE_REJECTED,                             transport=drop),
        A("AE-5",  S.STA2,                                                 artim=start),
        A("AE-6",  S.STA3,  tell=Tell.A_ASSOCIATE_INDICATION,              artim=stop,  otherwise="AE-8"),
        A("AE-7",  S.STA6,  send=Send.A_ASSOCIATE_AC),
        A("AE-8",  S.STA13, send=Send.A_ASSOCIATE_RJ,                      artim=start, transport=finish),
        # Table 9-7: data transfer
        A("DT-1",  S.STA6,  send=Send.P_DATA_TF),
        A("DT-2",  S.STA6,  tell=Tell.P_DATA_INDICATION),
        # Table 9-8: association release
        A("AR-1",  S.STA7,  send=Send.A_RELEASE_RQ),
        A("AR-2",  S.STA8,  tell=Tell.A_RELEASE_INDICATION),
        A("AR-3",  S.STA1,  tell=Tell.A_RELEASE_CONFIRMATION,                           transport=drop),
        A("AR-4",  S.STA13, send=Send.A_RELEASE_RP,                        artim=start, transport=finish),
        A("AR-5",  S.STA1,                                                 artim=stop,  transport=drop),
        A("AR-6",  S.STA7,  tell=Tell.P_DATA_INDICATION),
        A("AR-7",  S.STA8,  send=Send.P_DATA_TF),
        A("AR-8",  S.STA9,  tell=Tell.A_RELEASE_INDICATION,                acceptor_state=S.STA10),
        A("AR-9",  S.STA11, send=Send.A_RELEASE_RP),
        A("AR-10", S.STA12, tell=Tell.A_RELEASE_CONFIRMATION),
        # Table 9-9: association abort and associated cases
        A("AA-1",  S.STA13, send=Send.A_ABORT_USER,                        artim=start, transport=finish),
        A("AA-2",  S.STA1,                                                 artim=stop,  transport=drop),
        A("AA-3",  S.STA1,  tell=Tell.A_ABORT_INDICATION,                               transport=drop),
        A("AA-4",  S.STA1,  tell=Tell.TRANSPORT_CLOSED,                                 transport=drop),
        A("AA-5",  S.STA1,                                                 artim=stop,  transport=drop),
        A("AA-6",  S.STA13),
        # Deviation AA-7: PS3.8 sends an A-ABORT here. Sta13 is only reached after our A-ABORT, or after a PDU with a
        # FIN behind it: nothing can follow that, and a second A-ABORT would let garbage be amplified. Nothing is sent.
        A("AA-7",  S.STA13),
        A("AA-8",  S.STA13, send=Send.A_ABORT_PROVIDER, tell=Tell.A_ABORT_INDICATION, artim=start, transport=finish),
    )
    # fmt: on
    return {row.name: row for row in rows}


ACTIONS = _rows()

# PS3.8 Table 9-10, to be laid beside it.
TABLE_9_10 = """\
        Sta1  Sta2  Sta3  Sta4  Sta5  Sta6  Sta7  Sta8  Sta9  Sta10 Sta11 Sta12 Sta13
Evt1    AE-1  .     .     .     .     .     .     .     .     .     .     .     .       A-ASSOCIATE request
Evt2    .     .     .     AE-2  .     .     .     .     .     .     .     .     .       transport confirmation
Evt3    .     AA-1  AA-8  .     AE-3  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6    A-ASSOCIATE-AC PDU
Evt4    .     AA-1  AA-8  .     AE-4  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6    A-ASSOCIATE-RJ PDU
Evt5    AE-5  .     .     .     .     .     .     .     .     .     .     .     .       transport indication
Evt6    .     AE-6  AA-8  .     AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7    A-ASSOCIATE-RQ PDU
Evt7    .     .     AE-7  .     .     .     .     .     .     .     .     .     .       A-ASSOCIATE accept
Evt8    .     .     AE-8  .     .     .     .     .     .     .     .     .     .       A-ASSOCIATE reject
Evt9    .     .     .     .     .     DT-1  .     AR-7  .     .     .     .     .       P-DATA request
Evt10   .     AA-1  AA-8  .     AA-8  DT-2  AR-6  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6    P-DATA-TF PDU
Evt11   .     .     .     .     .     AR-1  .     .     .     .     .     .     .       A-RELEASE request
Evt12   .     AA-1  AA-8  .     AA-8  AR-2  AR-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6    A-RELEASE-RQ PDU
Evt13   .     AA-1  AA-8  .     AA-8  AA-8  AR-3  AA-8  AA-8  AR-10 AR-3  AA-8  AA-6    A-RELEASE-RP PDU
Evt14   .     .     .     .     .     .     .     AR-4  AR-9  .     .     AR-4  .       A-RELEASE response
Evt15   .     .     AA-1  AA-2  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  .       A-ABORT request
Evt16   .     AA-2  AA-3  .     AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-2    A-ABORT PDU
Evt17   .     AA-5  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AR-5    transport closed
Evt18   .     AA-2  .     .     .     .     .     .     .     .     .     .     AA-2    ARTIM expired
Evt19   .     AA-1  AA-8  .     AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7    unrecognized or invalid
"""


def _read(page: str) -> tuple[tuple[Action | None, ...], ...]:
    """The page as rows by event number, columns by state number; row and column 0 are empty."""
    rows: list[tuple[Action | None, ...]] = [(None,) * (len(State) + 1)]
    for line in page.splitlines()[1:]:
        cells = line.split()[1 : len(State) + 1]
        rows.append((None, *(None if cell == "." else ACTIONS[cell] for cell in cells)))
    return tuple(rows)


TABLE = _read(TABLE_9_10)
"""TABLE[event][state] is the action, or None for an empty cell."""


def states_where(event: Event) -> frozenset[State]:
    """The states in which the table has an answer to this event."""
    return frozenset(state for state in State if TABLE[event][state] is not None)


SENDS_DATA = states_where(Event.EVT9)
"""Sta6, and Sta8 by AR-7: the peer has asked for release, and data may still follow until we answer."""

TAKES_DATA = frozenset(
    state for state in State if (a := TABLE[Event.EVT10][state]) is not None and a.tell is Tell.P_DATA_INDICATION
)
"""Sta6, and Sta7 by AR-6: we have asked for release, and data may still come until the peer answers."""

CAN_ABORT = states_where(Event.EVT15)

LOCAL_EVENTS = frozenset(Event(n) for n in (1, 2, 5, 7, 8, 9, 11, 14, 15))
"""Primitives of the local user, and transport events that it asked for: in an empty cell they raise. All other events
come from the peer or the clock and are ignored there (late timers, a close reported twice)."""
