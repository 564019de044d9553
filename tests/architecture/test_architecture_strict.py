"""What a test leaves behind fails the run: each kind of it, left on purpose in a run of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LEFT = """
import asyncio, gc, socket

def test_nothing(): pass

def test_a_socket(): socket.socket()

def test_a_file(): open("/dev/null")

async def test_a_transport():
    with socket.create_server(("127.0.0.1", 0)) as server:
        reader, writer = await asyncio.open_connection(*server.getsockname())

async def test_a_coroutine(): asyncio.sleep(0)

async def test_an_exception():
    async def fail(): raise ValueError
    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    del task
    gc.collect()

def test_a_task():
    loop = asyncio.new_event_loop()
    task = loop.create_task(asyncio.sleep(1000))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    del task
    gc.collect()

def test_what_the_garbage_collector_finds():
    cycle = [open("/dev/zero")]
    cycle.append(cycle)
"""


@pytest.fixture(scope="module", params=[0, 2], ids=["one process", "two"])
def said(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str]:
    path = tmp_path_factory.mktemp("left") / "test_left.py"
    path.write_text(LEFT)
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(request.param), "-p", "no:cacheprovider"]
    command += ["-c", str(ROOT / "pyproject.toml"), "-p", "conftest", str(path)]
    run = subprocess.run(command, cwd=ROOT / "tests", capture_output=True, text=True, check=False)
    return run.returncode, run.stdout


WORDS = {
    "a_socket": r"unclosed <socket\.socket",
    "a_file": "name='/dev/null'",
    "a_transport": "unclosed (transport )?<",  # the StreamWriter says it, or the transport, by the version of Python
    "a_coroutine": "was never awaited",
    "an_exception": "Task exception was never retrieved",
    "a_task": "Task was destroyed but it is pending!",
    "what_the_garbage_collector_finds": "name='/dev/zero'",
}


@pytest.mark.parametrize("left", WORDS)
def test_it_is_a_failure(left: str, said: tuple[int, str]) -> None:
    code, output = said
    assert code == 1
    assert re.search(WORDS[left], output)
    blamed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    # What is in a cycle is found when its module has ended: the last test of that is blamed.
    assert left.startswith("what") or any(f"::test_{left}" in line for line in blamed)
    assert not any("::test_nothing" in line for line in blamed)
