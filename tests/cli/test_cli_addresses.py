"""Hosts and ports that cannot be, on the command line and in programs, and hosts as messages write them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from cli.conftest import HOST, Command

import aiodimse
from aiodimse import sop_class
from aiodimse.cli import failures

NO_HOSTS = ("a..b", "a" * 300, "a\0b")


@pytest.mark.parametrize("host", NO_HOSTS, ids=ascii)
async def test_no_host_name(host: str, command: Command, tmp_path: Path) -> None:
    (await command("echo", host, 104)).failed(1, ":104: the host name does not resolve")
    ended = await command("serve", tmp_path, "--host", host)
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert "not a host name" in ended.err
    with pytest.raises(socket.gaierror, match="not a host name"):
        await aiodimse.connect(host, 104, contexts=[sop_class.Verification])
    with pytest.raises(socket.gaierror, match="not a host name"):
        async with aiodimse.Server().listen(host, 0):
            pass


@pytest.mark.parametrize("host", ["::1", "[::1]"])
async def test_an_ipv6_address_is_written_in_brackets(host: str, command: Command, tmp_path: Path) -> None:
    (await command("echo", host, 1)).failed(1, "aiodimse echo: [::1]:1: ")
    assert failures.unreachable(ConnectionRefusedError(111, ""), "::1", 104).startswith("[::1]:104: ")


@pytest.mark.parametrize("port", [70000, -1])
async def test_no_port(port: int) -> None:
    with pytest.raises(aiodimse.LocalProtocolError, match=rf"not a port \(0 to 65535\): {port}"):
        await aiodimse.connect(HOST, port, contexts=[sop_class.Verification])
    with pytest.raises(aiodimse.LocalProtocolError, match="not a port"):
        async with aiodimse.Server().listen(HOST, port):
            pass
