"""Runs, with an installed aiodimse, what the README shows: python .ci/try_wheel.py README.md

A folder is served, C-ECHO is asked on the command line, the first query asks it, and the first provider is sent a file.
The ports of the README are replaced by free ones.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from pydicom.data import get_testdata_file

import aiodimse

COMMAND = str(Path(sys.executable).with_name("aiodimse"))
SECONDS = 60


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def run(*arguments: str) -> str:
    """What a command prints; CalledProcessError where it fails."""
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
        done.check_returncode()
    return done.stdout


@contextmanager
def running(*arguments: str):
    """A program that ends by SIGINT."""
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)


def main() -> None:
    """Try it."""
    assert version("aiodimse") == aiodimse.__version__
    page = Path(sys.argv[1]).read_text(encoding="utf-8")
    programs = dict(re.findall(r'^```python title="(.*?)"\n(.*?)^```$', page, re.M | re.S))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = Path(str(get_testdata_file("CT_small.dcm")))
        (folder / "images").mkdir()
        (folder / "images" / "image.dcm").write_bytes(image.read_bytes())
        arguments = (
            "serve",
            str(folder / "images"),
            "--ae-title",
            "ARCHIVE",
            "--port",
            "0",
            "--json",
            "--index",
            "memory:",
        )
        with running(COMMAND, *arguments) as served:
            assert served.stdout is not None
            port = json.loads(served.stdout.readline())["port"]
            run(COMMAND, "echo", "127.0.0.1", str(port), "--called", "ARCHIVE")
            program = folder / "first_find.py"
            program.write_text(programs["first_find.py"].replace("11112", str(port)))
            printed = run(sys.executable, "-W", "error", str(program))
            assert "status: 0x0000" in printed, printed
        port = free_port()
        program = folder / "first_provider.py"
        program.write_text(programs["first_provider.py"].replace("11113", str(port)))
        with running(sys.executable, "-u", "-W", "error", str(program)) as provider:
            for _ in range(SECONDS * 20):
                try:
                    run(COMMAND, "store", "127.0.0.1", str(port), "--called", "STORE", str(image))
                    break
                except subprocess.CalledProcessError:
                    if provider.poll() is not None:
                        raise
            assert provider.stdout is not None
            assert provider.stdout.readline().startswith("AIODIMSE sent ")
    print(f"aiodimse {aiodimse.__version__}: the README works")


if __name__ == "__main__":
    main()
