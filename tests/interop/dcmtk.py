"""DCMTK's programs, as users (coroutines that run one to its end) and as providers (started, stopped).

Users run with -d, because only then do they print every message that came: messages_in() reads those blocks. getscu and
movescu exit 0 on failures too, so a test asks the final status and counts the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from interop.programs import Finished, Provider, need, run
from interop.samples import Sample
from ports import free_port
from pydicom import dcmread
from pydicom.dataset import Dataset

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Response:
    """One response as DCMTK printed it; counters are None where it printed "none" or nothing."""

    kind: str
    status: int
    has_data_set: bool
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None


_BLOCK = re.compile(r"D: =+ INCOMING DIMSE MESSAGE =+\n(.*?)D: =+ END DIMSE MESSAGE =+", re.DOTALL)
_LINE = re.compile(r"^D: ([A-Z][^:\n]*?)\s*: (.*)$", re.MULTILINE)


def messages_in(output: str) -> list[Response]:
    """Every response that a DCMTK user says it received, in order."""
    if "Received Echo Response (Success)" in output:
        return [Response("C-ECHO RSP", 0x0000, False)]
    found = []
    for block in _BLOCK.findall(output):
        said = dict(_LINE.findall(block))
        kind = said["Message Type"].strip()
        if not kind.endswith("RSP"):
            continue
        counters = [
            int(text) if text.isdigit() else None
            for text in (
                said.get(f"{name} Suboperations", "") for name in ("Remaining", "Completed", "Failed", "Warning")
            )
        ]
        status = int(said["DIMSE Status"].split(":")[0], 16)
        found.append(Response(kind, status, said["Data Set"].strip() == "present", *counters))
    return found


@dataclass(frozen=True)
class Talk:
    """A finished user: what it printed and, parsed, the responses it got and the data sets it wrote."""

    finished: Finished
    responses: list[Response]
    files: list[Path]

    @property
    def final(self) -> Response:
        assert self.responses, f"no response came\n{self}"
        return self.responses[-1]

    @property
    def statuses(self) -> list[int]:
        return [response.status for response in self.responses]

    def datasets(self) -> list[Dataset]:
        return [dcmread(path) for path in self.files]

    def __str__(self) -> str:
        """The end of what it printed: where the reason is."""
        return "\n".join(str(self.finished).splitlines()[-40:])


async def _talk(
    program: str,
    port: int,
    *words: str | Path,
    called: str = "ANY-SCP",
    calling: str | None = None,
    keys: Mapping[str, object] | None = None,
    folder: Path | None = None,
    after: Iterable[Path] = (),
    code: int | None = None,
    patience: float = 60.0,
) -> Talk:
    command: list[str | Path] = [need(program), "-d", "-aec", called, "-to", "10", "-ta", "10", "-td", "30", *words]
    if calling:
        command += ["-aet", calling]
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        command += ["-od", folder]
    for key, value in (keys or {}).items():
        command += ["-k", f"{key}={value}"]
    finished = await run(*command, HOST, str(port), *after, patience=patience, cwd=folder)
    talk = Talk(finished, messages_in(finished.output), sorted(folder.iterdir()) if folder is not None else [])
    assert code in (None, finished.code), f"exit {finished.code}\n{talk}"
    return talk


async def echoscu(port: int, *words: str, **more: object) -> Talk:
    return await _talk("echoscu", port, *words, **more)  # type: ignore[arg-type]


async def storescu(port: int, paths: Iterable[Path], *words: str, **more: object) -> Talk:
    """Only what the files need is proposed. DCMTK converts on the way unless an option such as -xw says not to."""
    return await _talk("storescu", port, "-R", *words, after=paths, **more)  # type: ignore[arg-type]


async def store_samples(port: int, samples: Iterable[Sample], **more: object) -> list[Talk]:
    """Each sample in its own transfer syntax, one association for each syntax."""
    by_option: dict[str, list[Path]] = {}
    for sample in samples:
        by_option.setdefault(sample.dcmtk, []).append(sample.path)
    return [await storescu(port, paths, option, **more) for option, paths in by_option.items()]


async def findscu(port: int, model: str, keys: Mapping[str, object], folder: Path, *words: str, **more: object) -> Talk:
    """model: -S, -P, -O or -W. Matches are extracted into the folder and come back from .datasets()."""
    return await _talk("findscu", port, model, "-X", *words, keys=keys, folder=folder, **more)  # type: ignore[arg-type]


async def getscu(port: int, model: str, keys: Mapping[str, object], folder: Path, *words: str, **more: object) -> Talk:
    """+B: what comes is written as it came."""
    return await _talk("getscu", port, model, "+B", *words, keys=keys, folder=folder, **more)  # type: ignore[arg-type]


async def movescu(
    port: int, model: str, keys: Mapping[str, object], destination: str, *words: str, **more: object
) -> Talk:
    return await _talk("movescu", port, model, "-aem", destination, *words, keys=keys, **more)  # type: ignore[arg-type]


class StoreSCP(Provider):
    """storescp; it writes what it gets, bit for bit, into .received (with --fork peers are served side by side)."""

    def __init__(self, folder: Path, *words: str, title: str = "STORESCP") -> None:
        self.received = folder / "received"
        self.received.mkdir(parents=True)
        port = free_port()
        super().__init__(
            [need("storescp"), "-v", "-aet", title, "+B", "-od", str(self.received), *words, str(port)], port, folder
        )
        self.title = title

    def files(self) -> list[Path]:
        return sorted(self.received.iterdir())


class DcmQRSCP(Provider):
    """dcmqrscp with one storage area, AE title ARCHIVE. destinations: AE title -> port on this machine."""

    title = "ARCHIVE"

    def __init__(self, folder: Path, destinations: Mapping[str, int] | None = None) -> None:
        area = folder / "area"
        area.mkdir(parents=True)
        port = free_port()
        hosts = [f"host{n} = ({title}, localhost, {to})" for n, (title, to) in enumerate((destinations or {}).items())]
        config = folder / "dcmqrscp.cfg"
        lines = [
            f"NetworkTCPPort = {port}", "MaxPDUSize = 16384", "MaxAssociations = 16",
            "HostTable BEGIN", *hosts, "HostTable END",
            "VendorTable BEGIN", "VendorTable END",
            "AETable BEGIN", f"{self.title} {area} RW (500, 1024mb) ANY", "AETable END",
        ]  # fmt: skip
        config.write_text("\n".join(lines) + "\n", encoding="ascii")
        super().__init__([need("dcmqrscp"), "-v", "-c", str(config)], port, folder)
