"""Ports for programs that cannot report which port they got."""

from __future__ import annotations

import itertools
import os
import random
import socket

HOST = "127.0.0.1"
# Below what the kernel gives to those who do not care (ip_local_port_range), so that nobody gets one of these before
# the program has it. The workers of a test run share them out; another run begins somewhere else.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
_TRIES = itertools.cycle(range(20_000 + _WORKER, 32_000, _WORKERS))
_BEGIN = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID", os.getpid())).randrange(12_000 // _WORKERS)


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens, and which the system assigns to nobody by chance."""
    for port in _TRIES:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port
    raise AssertionError("the ports do not end")


for _ in range(_BEGIN):
    next(_TRIES)
