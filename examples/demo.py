"""The program of `make demo`: a provider over real files that pydicom ships, and a user that tries every service.

`aiodimse serve` runs as a process over a temporary folder; the program shows each command as one would type it. C-MOVE
sends to a second provider, twenty lines of Python in this file.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pydicom

import aiodimse

HOST = "127.0.0.1"
TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
SHIPPED = (
    "dicomdirtests/77654033",
    "dicomdirtests/98892003",
    "MR_small.dcm",
    "rtplan.dcm",
    "test-SR.dcm",
    "README.txt",
)
NEW = "CT_small.dcm", "JPEG2000.dcm"
MR_STUDY = "1.3.6.1.4.1.5962.1.1.0.0.0.1196533885.18148.0.1"
CT_STUDY = "1.3.6.1.4.1.5962.1.1.0.0.0.1196530851.28319.0.1"


# --- your own provider: the viewer to which C-MOVE sends --------------------------------------------------------------

viewer = aiodimse.Server(ae_title="VIEWER")


@viewer.on_c_store
async def store(request: aiodimse.StoreRequest) -> int:
    dataset = await request.dataset()
    print(f"  VIEWER: {dataset.Modality} {dataset.PatientName}, instance {dataset.InstanceNumber}", flush=True)
    return 0x0000


# --- the demonstration ------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    """Print a headline."""
    on, off = ("\x1b[1;36m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{on}# {text}{off}", flush=True)


def shown(words: tuple[str, ...]) -> str:
    """Return a command as one would type it."""
    return "$ aiodimse " + shlex.join(words)


async def aiodimse_command(*words: str, folder: Path) -> None:
    """Show a command and run it, with our own output. Raise SystemExit if it fails."""
    print(shown(words), flush=True)
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "aiodimse", *words, cwd=folder)
    try:
        code = await process.wait()
    finally:
        await ended(process)
    if code != 0:
        raise SystemExit(f"the command failed: exit status {code}")


async def ended(process: asyncio.subprocess.Process) -> int:
    """End a process that still runs, and wait for it."""
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(10):
            return await process.wait()
    except (TimeoutError, asyncio.CancelledError):
        process.kill()
        await process.wait()
        raise


@asynccontextmanager
async def serving(folder: Path, viewer_port: int) -> AsyncIterator[int]:
    """Run `aiodimse serve` over the folder; the context manager gives its port."""
    words = (
        "serve",
        "archive",
        "--port",
        "0",
        "--ae-title",
        "ARCHIVE",
        "--destination",
        f"VIEWER={HOST}:{viewer_port}",
    )
    print(shown(words), "&", flush=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aiodimse", *words, cwd=folder, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        port = 0
        while not port:
            line = (await process.stdout.readline()).decode()
            if not line:
                raise SystemExit("serve has ended")
            print(line, end="", flush=True)
            if " serves " in line:  # ARCHIVE serves archive on 127.0.0.1:35417 (Ctrl-C ends it)
                port = int(line.split(f"{HOST}:")[1].split()[0])
        yield port
        say("The end: on SIGTERM, serve finishes its requests")
        process.terminate()
        print((await process.stdout.read()).decode(), end="")
        await process.wait()  # before a second terminate(), which could take the exit status from asyncio
    finally:
        await ended(process)


def fill(archive: Path) -> None:
    """Copy the files that pydicom ships."""
    for name in SHIPPED:
        source = TEST_FILES / name
        if source.is_dir():
            shutil.copytree(source, archive / name)
        elif source.exists():
            shutil.copy(source, archive)


async def main() -> None:
    """Run the demonstration in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="aiodimse-demo-") as name:
        folder = Path(name)
        for each in ("archive", "new"):
            (folder / each).mkdir()
        fill(folder / "archive")
        for file in NEW:
            shutil.copy(TEST_FILES / file, folder / "new")
        os.environ.setdefault("COLUMNS", str(max(100, shutil.get_terminal_size().columns)))
        say("A provider over a folder of DICOM files")
        async with viewer.listen(HOST, 0) as listening, serving(folder, listening.port) as port:
            await ask(folder, (HOST, str(port), "--called", "ARCHIVE"))
    print("\nThat was aiodimse. `aiodimse --help` lists the commands; docs/tutorial.md shows the same in Python.")


async def ask(folder: Path, peer: tuple[str, ...]) -> None:
    """Run one command after the other."""

    async def command(name: str, *words: str) -> None:
        await aiodimse_command(name, *peer, *words, folder=folder)

    say("C-ECHO: does the provider answer?")
    await command("echo")
    say("C-STORE: two more files; one is JPEG 2000, and stays JPEG 2000")
    await command("store", "new")
    say("C-FIND: the studies of some patients, found by part of their names")
    await command(
        "find", "-k", "PatientName=*^p*", "-k", "StudyDate", "-k", "ModalitiesInStudy", "-k", "StudyInstanceUID"
    )
    say("... and the series of one of them")
    await command("find", "--level", "SERIES", "-k", f"StudyInstanceUID={MR_STUDY}")
    say("C-GET: that study, into a folder")
    await command("get", "-k", f"StudyInstanceUID={MR_STUDY}", "--output", "fetched")
    files = sorted((folder / "fetched").iterdir())
    print(f"  {len(files)} files, as pydicom reads them:")
    for path in files[:3]:
        dataset = pydicom.dcmread(path)
        size = f"{dataset.Rows} x {dataset.Columns}, {path.stat().st_size} bytes"
        print(f"  {dataset.Modality} {dataset.PatientName}, {size}", flush=True)
    say("C-MOVE: another study, to a third party: VIEWER is twenty lines of Python in examples/demo.py")
    await command("move", "-k", f"StudyInstanceUID={CT_STUDY}", "--destination", "VIEWER")
    say("For programs: JSON")
    await command(
        "find",
        "--json",
        "-k",
        "Modality=MR",
        "-k",
        "PatientID",
        "--level",
        "SERIES",
        "-k",
        f"StudyInstanceUID={MR_STUDY}",
    )
    say("What the provider accepts, and why it refuses the rest")
    words = ["Verification", "CTImageStorage", "ModalityWorklistInformationModelFind"]
    await command("explain", *(word for each in words for word in ("--context", each)))


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
