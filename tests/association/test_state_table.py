"""PS3.8 Table 9-10: each of its 247 cells, defined and empty, in both roles."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import ps38
import pytest
from rows import for_each_row

from aiodimse.association import Event, State
from aiodimse.association.state_table import ACTIONS, LOCAL_EVENTS, TABLE

ROLES = ("requestor", "acceptor")


def test_the_page_is_the_table() -> None:
    ours = {(e, s): a.name if (a := TABLE[e][s]) else "" for e in Event for s in State}
    assert ours == ps38.read_table()
    assert sum(map(bool, ours.values())) == 123
    assert len(ours) == 247


def test_28_actions() -> None:
    assert set(ACTIONS) == set(ps38.read_actions())
    assert len(ACTIONS) == 28
    assert {cell for cell in ps38.read_table().values() if cell} == set(ACTIONS)


@for_each_row(itertools.product(Event, State, ROLES), lambda cell: f"{cell[0].name} in {cell[1].name} as {cell[2]}")
def test_a_cell_does_what_the_state_table_says(
    cell: tuple[Event, State, str], record_property: Callable[[str, int], None]
) -> None:
    event, state, role = cell
    machine = ps38.machine_in(state, role)
    deadline = machine.next_deadline()
    name = ps38.read_table()[event, state]
    did = ps38.fire(machine, event, now=3.0)
    if not name:
        assert did.raised == (event in LOCAL_EVENTS)
        assert (did.sent, did.told) == ([], [])
        assert (machine.state, machine.next_deadline()) == (state, deadline)
        record_property(f"refused as {role}", 1)
        return
    row = ps38.read_actions()[name]
    assert not did.raised
    assert machine.state is row.next_state(role)
    assert did.sent == [row.send] * (row.send != "-")
    assert did.indications == [row.tell] * (row.tell != "-")
    # The transport connection: dropped where the machine comes to rest, finished where it only awaits the peer.
    last = [type(event).__name__ for event in did.told if type(event).__name__ not in did.indications]
    assert last == (
        ["DropTransport"] if row.drops(state) else ["CloseTransport"] * (row.artim == "start" and row.send != "-")
    )
    match row.artim:
        case "start":
            wait = 30 if name == "AE-5" else 1 if row.send == "A-ABORT" else 10
            assert (machine.artim_running, machine.next_deadline()) == (True, 3.0 + wait)
        case "stop":
            assert (machine.artim_running, machine.next_deadline()) == (False, None)
        case _:
            assert machine.artim_running == (state in (State.STA2, State.STA13))
    record_property(f"defined as {role}", 1)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_data_flags(state: State, role: str) -> None:
    machine = ps38.machine_in(state, role)
    table = ps38.read_table()
    assert machine.can_send_data == (table[Event.EVT9, state] in ("DT-1", "AR-7"))
    assert machine.data_allowed_in == (table[Event.EVT10, state] in ("DT-2", "AR-6"))
    assert machine.can_abort == bool(table[Event.EVT15, state])


def test_the_wire_of_each_abort() -> None:
    """AA-1 sends 0/0, or what the local user says; AA-8 sends source 2 and what was wrong (PS3.8 9.3.8)."""
    A = ps38.Abort

    def sent(state: State, what: str) -> list[object]:
        machine = ps38.machine_in(state, "acceptor")
        match what:
            case "bad":
                machine.receive(ps38.BAD, 0)
            case "unexpected":
                machine.receive(ps38.AC, 0)
            case "above":
                machine.provider_abort(6, 0)
            case "user":
                machine.abort(0)
            case "named":
                machine.abort(0, 2, 0)
        return ps38.seen(machine).pdus

    for state, what, expected in (
        (State.STA2, "bad", [A(0, 0)]),
        (State.STA2, "unexpected", [A(0, 0)]),
        (State.STA2, "above", [A(0, 0)]),
        (State.STA3, "bad", [A(2, 1)]),
        (State.STA6, "bad", [A(2, 1)]),
        (State.STA6, "unexpected", [A(2, 2)]),
        (State.STA6, "above", [A(2, 6)]),
        (State.STA6, "user", [A(0, 0)]),
        (State.STA6, "named", [A(2, 0)]),
        (State.STA13, "bad", []),
        (State.STA13, "unexpected", []),
        (State.STA13, "above", []),
        (State.STA1, "above", []),
        (State.STA4, "above", []),
    ):
        assert sent(state, what) == expected, (state, what)
