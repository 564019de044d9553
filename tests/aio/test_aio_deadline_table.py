"""Every deadline of Timeouts, in each role that has it, over TCP and TLS: it fires when it should and not before, what
goes over the wire then is what it should be, and nothing is left. The rows are in deadlines.py.

Transports are in memory, and the clock is moved by hand; test_aio_stall.py and tests/tls have sockets.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import fields

import pytest
from aio.deadlines import ROWS

from aiodimse.config import Timeouts

ONE_ROLE = {
    "connect": "requestor",
    "move_response": "requestor",
    "release": "requestor",
    "artim": "acceptor",
    "authenticate": "acceptor",
    "idle": "acceptor",
    "server_drain": "acceptor",
    "drain_idle": "acceptor",
}
"""What the other side does not have; all others are for both."""


ELSEWHERE = {
    "transcode",  # of real time, in a process that decodes: tests/recompression/test_recompression_wire.py
    "move_settle",  # begins when its operation has ended: tests/services/test_services_received_move.py
    "search",  # of an archive: tests/archive/test_archive_searches.py
    "destination_place",  # begins in the handler of a C-MOVE: tests/contract/test_contract_destination_budget.py
}
"""Deadlines that are tested in other files."""


def test_no_deadline_and_no_role_is_forgotten() -> None:
    wanted = {
        (field.name, role)
        for field in fields(Timeouts)
        for role in ("acceptor", "requestor")
        if field.name not in ELSEWHERE
        if ONE_ROLE.get(field.name, role) == role
    }
    assert {(row.deadline, row.role) for row in ROWS} == wanted
    assert {row.deadline for row in ROWS if row.over != ("TCP", "TLS")} == {"tls_handshake"}


@pytest.mark.parametrize(("row", "over"), [(row, over) for row in ROWS for over in row.over], ids=str)
async def test_deadline(row, over, make_world, certificates) -> None:
    async with make_world(certificates if over == "TLS" else None) as world, aclosing(row.script(world)) as script:
        quiet = await anext(script)
        await world.clock.elapse(row.seconds - 0.1)
        assert quiet(), "too early"
        await world.clock.elapse(0.2)
        with pytest.raises(StopAsyncIteration):
            await anext(script)
