"""Ctrl-C while the command is imported, and just before and after it runs."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cli.test_cli_processes import hear_sigint, start

import aiodimse_command

INTERRUPTED_IMPORT = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == MODULE:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
import aiodimse_command
sys.argv = ["aiodimse", "--version"]
sys.exit(aiodimse_command.main())
"""


@pytest.mark.parametrize("module", ["aiodimse", "pydicom.dataset", "aiodimse.cli.store"])
async def test_ctrl_c_while_the_command_is_imported(module: str) -> None:
    code = INTERRUPTED_IMPORT.replace("MODULE", repr(module))
    process = await start(sys.executable, "-c", code, preexec_fn=hear_sigint)
    out, err = await process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"")


@contextmanager
def handling_sigint_by(handler: Any) -> Iterator[None]:
    """Whatever whoever started the tests has decided: in the background of a script SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_beside_what_the_command_handles(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> int:
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        raise KeyboardInterrupt

    monkeypatch.setattr("aiodimse.cli.main.main", interrupted)
    with handling_sigint_by(signal.default_int_handler):
        assert aiodimse_command.main() == 130


def test_an_ignored_ctrl_c_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell without job control starts commands in the background so."""
    monkeypatch.setattr("aiodimse.cli.main.main", lambda: int(signal.getsignal(signal.SIGINT) is signal.SIG_IGN))
    with handling_sigint_by(signal.SIG_IGN):
        assert aiodimse_command.main() == 1
