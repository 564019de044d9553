"""The command loop of a worker: commands on stdin, answers on stdout, one JSON object per line."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers import sampling

Command = Callable[..., Awaitable[Mapping[str, Any] | None]]


def options() -> dict[str, Any]:
    """Return the worker's options: the JSON object on its command line."""
    found: dict[str, Any] = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    return found


def files_in(path: Path) -> list[Path]:
    """Return the files of a folder, or the one file."""
    return sorted(path.iterdir()) if path.is_dir() else [path]


def print_answer(**answer: Any) -> None:
    sys.stdout.write(json.dumps(answer, default=str) + "\n")
    sys.stdout.flush()


async def run_commands(commands: Mapping[str, Command], *, port: int = 0) -> None:
    """Print that the worker is ready, then run commands until stdin ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    commands = {**commands, "sample": sampling.start, "samples": sampling.stop}
    print_answer(port=port)
    while line := await reader.readline():
        message = json.loads(line)
        try:
            answer = await commands[message.pop("command")](**message)
        except Exception as error:
            print_answer(error=f"{type(error).__name__}: {error}")
        else:
            print_answer(**(answer or {}))


def go(main: Callable[[], Awaitable[None]], loop: str = "asyncio") -> None:
    """Run a worker on asyncio's own loop or on uvloop."""
    factory: Any = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())  # type: ignore[arg-type]
