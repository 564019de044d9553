"""python -m aiodimse.testing.hostile: what it says, and how it ends."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest
from cli.test_cli_processes import hear_sigint, serving, start
from slowness import without_slowness

HOST = "127.0.0.1"
CT = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"


async def hostile(*words: object) -> tuple[int | None, str, str]:
    process = await start(sys.executable, "-m", "aiodimse.testing.hostile", *words)
    out, err = await process.communicate()
    return process.returncode, out.decode(), without_slowness(err)


@pytest.mark.parametrize("only", ["empty last fragments", "when stored", "Identifier"])
async def test_against_our_own_serve(only: str, tmp_path: Path) -> None:
    """An archive warns of an object without a study, and that is in order."""
    shutil.copy(CT, tmp_path)
    async with serving(tmp_path) as (_, port):
        code, out, err = await hostile(HOST, port, "--called", "AIODIMSE", "--only", only, "--fin")
    assert (code, err) == (0, ""), out
    assert " 0 not as they must be, 0 not offered" in out


async def test_all_of_it_against_our_own_serve(tmp_path: Path) -> None:
    """As the page on the command line says, without options."""
    async with serving(tmp_path) as (_, port):
        code, out, err = await hostile(HOST, port, "--called", "AIODIMSE")
    refused = [line for line in out.splitlines() if line.startswith("NOT")]
    assert (code, refused) == (0, []), err


async def test_nobody_to_be_rude_to(tmp_path: Path) -> None:
    for host, port in ((HOST, 1), ("nobody.invalid", 104), ("a..b", 104)):
        code, out, err = await hostile(host, port)
        assert (code, out, len(err.splitlines())) == (1, "", 1)
        assert f"{host}:{port}: " in err
    async with serving(tmp_path) as (_, port):
        code, out, err = await hostile(HOST, port)
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "reject 1/1/7; --called ANY-SCP?" in err


async def test_no_such_case() -> None:
    code, out, err = await hostile(HOST, 1, "--only", "good manners")
    assert (code, out) == (2, "")
    assert "no case has 'good manners' in its name" in err


async def test_ctrl_c() -> None:
    connected = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, HOST, 0) as mute:
        port = mute.sockets[0].getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "aiodimse.testing.hostile", HOST, str(port),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=hear_sigint,
        )  # fmt: skip
        await connected.wait()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 130
    assert without_slowness(err) == "python -m aiodimse.testing.hostile: interrupted\n"
