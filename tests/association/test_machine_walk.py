"""Random walks. What holds, in words:

- state, action and bytes are those of Table 9-10, whatever comes, with AA-7's named deviation;
- ARTIM runs in Sta2 and Sta13 and nowhere else;
- there is at most one A-ABORT, at most one terminal indication, at most one DropTransport, and nothing after that;
- two machines joined always come to rest in Sta1, once time goes on.

The walks are drawn from seeds: two that are always the same, and one that is new in each run. A failure prints its
seed, and AIODIMSE_WALK_SEED=... walks that one again. Hypothesis would stop too soon to come far from Sta1. The long
profile is AIODIMSE_WALK_STEPS=1000000.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from random import Random, SystemRandom

import ps38
import pytest

from aiodimse.association import (
    CloseTransport,
    DropTransport,
    Event,
    Machine,
    ReleaseTimedOut,
    State,
)
from aiodimse.errors import LocalProtocolError, PDUDecodeError
from aiodimse.pdu import Abort, AssociateRJ, DataHeader, MaximumLength, UserInformation, pdus

ROLES = ("requestor", "acceptor")
SEEDS = (0, 1, None)
STEPS = int(os.environ.get("AIODIMSE_WALK_STEPS", "80000")) // len(SEEDS)

seeds = pytest.mark.parametrize("seed", SEEDS, ids=["0", "1", "new"])


def _drawn(seed: int | None) -> Random:
    """None: a new seed, but not in the name of the test: the processes that share the tests must agree on that."""
    if seed is None:
        seed = int(os.environ.get("AIODIMSE_WALK_SEED") or SystemRandom().getrandbits(32))
    print(f"AIODIMSE_WALK_SEED={seed} AIODIMSE_WALK_STEPS={STEPS * len(SEEDS)}")
    return Random(seed)


# --- one machine against the standard ---------------------------------------------------------------------------------

_SPECIAL = ("old protocol", "even ids", "tiny maximum", "time", "from above")
_GENTLE = ("AE-", "DT-", "AR-")


def _choose(random: Random, table: dict[tuple[Event, State], str], state: State) -> Event | str:
    """Mostly what leads on, so that the walk comes far from Sta1; but anything may come anywhere."""
    leads_on = [event for (event, s), name in table.items() if s is state and name.startswith(_GENTLE)]
    if leads_on and random.random() < 0.85:
        return random.choice(leads_on)
    return random.choice((*_SPECIAL, *(event for event in Event if event is not Event.EVT18)))


@seeds
def test_one_machine_walks_the_table(seed: int | None, record_property: Callable[[str, int], None]) -> None:
    random, table, actions = _drawn(seed), ps38.read_table(), ps38.read_actions()
    reached: set[tuple[Event, State]] = set()
    steps = 0
    while steps < STEPS:
        role = random.choice(ROLES)
        machine = Machine(role, timeouts=ps38.TIMEOUTS)  # type: ignore[arg-type]
        now, aborts, drops, terminals, after = 0.0, 0, 0, 0, 0
        while after < 5:  # a few events after the end, too
            steps += 1
            after += bool(drops)
            what = _choose(random, table, machine.state)
            # A machine is for one association, and each role has its own way in.
            if what in (Event.EVT1, Event.EVT5) and (drops or (what is Event.EVT1) != (role == "requestor")):
                continue
            state, deadline = machine.state, machine.next_deadline()
            reason = random.choice((1, 2, 4, 5, 6))
            rejected: AssociateRJ | None = None
            match what:
                case "time":
                    now += random.choice((0, 1, 10, 30))
                    machine.handle_timeout(now)
                    if not (machine.artim_running or state in (State.STA2, State.STA13)) or now < (deadline or 0):
                        assert machine.state is state
                        assert all(type(told) is ReleaseTimedOut for told in ps38.seen(machine).told)
                        continue
                    event, did = Event.EVT18, ps38.seen(machine)
                case "from above":
                    machine.provider_abort(reason, now)
                    event, did = Event.EVT19, ps38.seen(machine)
                case "old protocol":
                    machine.receive(replace(ps38.RQ, protocol_version=0), now)
                    event, did, reason, rejected = Event.EVT6, ps38.seen(machine), 2, AssociateRJ(1, 2, 2)
                case "even ids":
                    machine.receive(replace(ps38.RQ, contexts=()), now)
                    event, did, reason = Event.EVT19, ps38.seen(machine), 6
                case "tiny maximum":
                    machine.receive(replace(ps38.AC, user_information=UserInformation((MaximumLength(1),))), now)
                    event, did, reason = Event.EVT19, ps38.seen(machine), 6
                case Event.EVT19:
                    machine.receive(PDUDecodeError("?", field="?", offset=0, reason=reason), now)
                    event, did = Event.EVT19, ps38.seen(machine)
                case Event():
                    event, did, reason = what, ps38.fire(machine, what, now), 2
                case _:
                    raise AssertionError(what)

            reached.add((event, state))
            name = table[event, state]
            if not name:
                assert machine.state is state
                assert (did.sent, did.told) == ([], [])
                continue
            row = actions[name]
            if name == "AE-6" and rejected is not None:
                row = actions["AE-8"]
                assert did.pdus == [rejected]
            assert machine.state is row.next_state(role)
            assert did.sent == [row.send] * (row.send != "-")
            assert did.indications == [row.tell] * (row.tell != "-")
            if row.send == "A-ABORT":
                assert did.pdus == [Abort(2, reason) if name == "AA-8" else Abort(0, 0)]
            terminals += row.name in ps38.TERMINAL
            aborts += did.sent.count("A-ABORT")
            drops += did.told.count(DropTransport())
            assert machine.artim_running == (machine.state in (State.STA2, State.STA13))
            assert max(aborts, drops, terminals) <= 1
            assert not did.dropped or did.told[-1] == DropTransport()
            assert (machine.state is State.STA1) == (drops == 1)
    # The walk is worth something only if it comes round; one in thirty of this length does not.
    assert len({cell for cell in reached if table[cell]}) > 100 or STEPS < 20_000 or seed is None
    record_property("steps of one machine", steps)


# --- two machines joined ----------------------------------------------------------------------------------------------


class Side:
    """A machine and its end of the transport connection."""

    def __init__(self, role: str) -> None:
        self.machine = Machine(role, timeouts=ps38.TIMEOUTS)  # type: ignore[arg-type]
        self.wire: deque[bytes] = deque()  # toward the peer; b"" is FIN
        self.finished = self.dropped = False
        self.abort_next = False

    def flush(self) -> None:
        did = ps38.seen(self.machine)
        assert not (self.finished and did.pdus), "nothing can follow a FIN"
        self.wire.extend(map(pdus.encode, did.pdus))
        for event in did.told:
            assert not self.dropped, f"{event} after DropTransport"
            if isinstance(event, CloseTransport | DropTransport):
                if not self.finished:
                    self.wire.append(b"")
                self.finished = True
                self.dropped = isinstance(event, DropTransport)
            self.abort_next |= isinstance(event, ReleaseTimedOut)

    def hear(self, peer: Side, now: float) -> None:
        """One thing from the wire."""
        data = peer.wire.popleft()
        if not self.dropped:
            if not data:
                self.machine.transport_closed(now)
            elif data[0] == pdus.P_DATA_TF:
                self.machine.receive(DataHeader(len(data) - 6), now)
            else:
                self.machine.receive(pdus.decode(data), now)
            self.flush()

    def do(self, what: str, now: float) -> None:
        machine = self.machine
        try:
            match what:
                case "accept":
                    machine.accept(ps38.AC, now)
                case "reject":
                    machine.reject(ps38.RJ, now)
                case "data":
                    if machine.can_send_data:
                        self.wire.append(pdus.pdata_header(1, True, True, 2) + b"..")
                case "release":
                    machine.release(now)
                case "respond":
                    machine.respond_release(now)
                case "abort":
                    machine.abort(now)
                case "bad":
                    machine.provider_abort(6, now)
                case "reset":
                    machine.transport_closed(now)
        except LocalProtocolError:
            pass
        self.flush()


_MOVES = ["accept"] * 3 + ["hear"] * 12 + ["data"] * 2 + ["release"] * 2 + ["respond"] * 3
_RUDE = ["reject", "abort", "bad", "reset"]


def _joined() -> tuple[Side, Side]:
    """Both transport connections are up, the A-ASSOCIATE-RQ is on the wire."""
    requestor, acceptor = Side("requestor"), Side("acceptor")
    requestor.machine.associate(ps38.RQ, 0)
    requestor.machine.transport_connected(0)
    acceptor.machine.transport_connected(0)
    requestor.flush()
    return requestor, acceptor


@seeds
def test_two_machines_come_to_rest(seed: int | None, record_property: Callable[[str, int], None]) -> None:
    random = _drawn(seed)
    reached: set[State] = set()
    steps = 0
    while steps < STEPS:
        requestor, acceptor = _joined()
        pairs = ((requestor, acceptor), (acceptor, requestor))
        now = 0.0
        for _ in range(random.randrange(60)):
            side, peer = random.choice(pairs)
            move = random.choice(_RUDE if random.random() < 0.02 else _MOVES)
            steps += 1
            now += random.choice((0, 0, 0.3))
            if move != "hear":
                side.do(move, now)
            elif peer.wire:
                side.hear(peer, now)
            reached |= {requestor.machine.state, acceptor.machine.state}

        # From here on no user starts anything new: each answers what it is asked, or is silent for ever; the bytes
        # arrive and time goes on, and the floor above aborts when its own deadlines pass.
        silent = random.random() < 0.3
        for _ in range(50):
            for side, peer in pairs:
                while peer.wire:
                    side.hear(peer, now)
                if not silent:
                    side.do("accept", now)
                    side.do("respond", now)
            if requestor.wire or acceptor.wire:
                continue
            if requestor.machine.state is acceptor.machine.state is State.STA1:
                break
            deadlines = [d for side, _ in pairs if (d := side.machine.next_deadline()) is not None]
            now = min(deadlines, default=now + 60)
            for side, _ in pairs:
                side.machine.handle_timeout(now)
                side.flush()
                if side.abort_next or not deadlines:
                    side.do("abort", now)
        assert requestor.machine.state is acceptor.machine.state is State.STA1
        assert requestor.dropped
        assert acceptor.dropped
    assert reached >= set(State) - {State.STA4} or STEPS < 20_000 or seed is None
    record_property("steps of two machines joined", steps)
