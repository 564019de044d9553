"""Tables for people, in terminals of different widths."""

from __future__ import annotations

import os

import pytest
from cli.conftest import Command, Peer

from aiodimse.cli import output


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Standard output is a terminal with so many columns."""
    width: int = request.param
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(output, "get_terminal_size", lambda: os.terminal_size((width, 20)))
    monkeypatch.setattr(output, "_is_terminal", lambda stream: True)


@pytest.mark.usefixtures("columns")
@pytest.mark.parametrize("columns", [50], indirect=True)
async def test_no_keyword_is_broken(command: Command, peer: Peer) -> None:
    ended = await command("explain", *peer.where, "--context", "SecondaryCaptureImageStorage")
    assert "abstract syntax  SecondaryCaptureImageStorage\n" in ended.out


@pytest.mark.parametrize("columns", [60], indirect=True)
@pytest.mark.usefixtures("columns")
def test_a_row_is_a_block_where_there_is_no_room(capsys: pytest.CaptureFixture[str]) -> None:
    output.Output().table(["answer", "abstract syntax"], [["x" * 40, "CTImageStorage"]])
    assert capsys.readouterr().out == f"answer           {'x' * 40}\nabstract syntax  CTImageStorage\n\n"


@pytest.mark.parametrize("columns", [80], indirect=True)
@pytest.mark.usefixtures("columns")
def test_a_table_where_there_is_room(capsys: pytest.CaptureFixture[str]) -> None:
    output.Output().table(["answer", "abstract syntax"], [["x" * 40, "CTImageStorage"]])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["answer", "abstract", "syntax"] in lines
    assert ["x" * 40, "CTImageStorage"] in lines
