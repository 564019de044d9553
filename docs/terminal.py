"""Pictures of the command line for the pages: python docs/terminal.py runs the commands and draws what they print.

A test runs the commands again and compares, so that no picture shows what the program does not print.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.data import get_testdata_file
from rich.console import Console
from rich.text import Text

ASSETS = Path(__file__).parent / "assets"
FILES = ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "JPEG2000.dcm")
WIDTH = 112
PORT = "11112"
"""The port that the pictures show; the archive behind them has a free one."""
PICTURES = {
    "terminal-first-look": (
        "aiodimse echo 127.0.0.1 11112 --called ARCHIVE",
        "aiodimse find 127.0.0.1 11112 --called ARCHIVE -k PatientID -k PatientName -k StudyDate",
        "aiodimse get 127.0.0.1 11112 --called ARCHIVE --model patient --level PATIENT -k PatientID=1CT1 --output got",
        "aiodimse store 127.0.0.1 11112 --called ARCHIVE got",
    ),
    "terminal-mistakes": (
        "aiodimse echo 127.0.0.1 11112 --called ARCHIV",
        "aiodimse find 127.0.0.1 11112 --called ARCHIVE -k PatientsName",
        "aiodimse echo 127.0.0.1 1 --called ARCHIVE",
    ),
}
_SECONDS = re.compile(r"\d+\.\d ms")
# As rich's own, without its link to a font of another host: a picture in a page loads nothing.
_SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font: {char_height}px/{line_height}px ui-monospace, monospace; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


@contextmanager
def archive() -> Iterator[tuple[Path, str]]:
    """An empty folder to run commands in, and the port of an archive with the files of the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        held, work = Path(folder, "held"), Path(folder, "work")
        held.mkdir()
        work.mkdir()
        for name in FILES:
            shutil.copy(str(get_testdata_file(name)), held)
        command = [
            sys.executable,
            "-m",
            "aiodimse",
            "serve",
            str(held),
            "--ae-title",
            "ARCHIVE",
            "--port",
            "0",
            "--json",
        ]
        serving = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert serving.stdout is not None
            port = re.search(r'"port": (\d+)', serving.stdout.readline())
            assert port is not None
            yield work, port[1]
        finally:
            serving.terminate()
            serving.communicate()


def run(line: str, folder: Path, port: str) -> str:
    """What a command prints, with the port and the milliseconds of the pictures."""
    words = shlex.split(line.replace(PORT, port))
    ended = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env={**os.environ, "COLUMNS": str(WIDTH), "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return _SECONDS.sub("0.5 ms", ended.stdout.replace(port, PORT))


def draw(name: str, folder: Path, port: str) -> str:
    """The picture, as SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor", force_terminal=True)
    for line in PICTURES[name]:
        console.print(Text.assemble(("$ ", "bold green"), (line, "bold")))
        console.print(Text(run(line, folder, port).rstrip("\n")))
        console.print()
    return console.export_svg(title="aiodimse", code_format=_SVG, unique_id=name)


def main() -> None:
    """Draw them all."""
    for name in PICTURES:
        with archive() as (folder, port):
            (ASSETS / f"{name}.svg").write_text(draw(name, folder, port), encoding="utf-8")


if __name__ == "__main__":
    main()
