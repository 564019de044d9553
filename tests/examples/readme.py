"""The commands of the READMEs in examples/, with the ports and folders of a test."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def commands(example: str) -> list[str]:
    """The lines of its sh blocks; a line that ends in & goes on. Tests wait for what it prints, and do not sleep."""
    text = (EXAMPLES / example / "README.md").read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S) for line in block.splitlines()]
    return [line for line in lines if not line.startswith("sleep ")]


def changed(line: str, instead: Mapping[str, str | int | Path]) -> str:
    """The line with other words; each of them has to be there."""
    for said, other in instead.items():
        line = line.replace(said, str(other))
    return line


@asynccontextmanager
async def started(line: str, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command line that runs in the folder, with examples/ on the path, until the block is left."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(EXAMPLES),
        "PYTHONUNBUFFERED": "1",
    }
    process = await asyncio.create_subprocess_shell(
        f"exec {line.removesuffix('&')}",
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def ended(line: str, folder: Path) -> tuple[int | None, str]:
    """The exit status and the output of a command line."""
    async with started(line, folder) as process, asyncio.timeout(120):
        out, _ = await process.communicate()
    return process.returncode, out.decode()
