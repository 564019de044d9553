"""An archive of very many objects with empty files: one process fills, serves and queries it."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydicom import Dataset

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import Archive, Header, Level, provide
from benchmarks.peers.commands import go, options, run_commands

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
CT = str(sop_class.CTImageStorage)
AT_ONCE = 5_000
OF_SERIES, OF_STUDY, OF_PATIENT = 10, 30, 60


def header(number: int) -> Header:
    """Ten objects per series, three series per study, two studies per patient."""
    study, patient = number // OF_STUDY, number // OF_PATIENT
    uid = f"1.2.826.{study}"
    series = number // OF_SERIES
    return Header(
        f"{number >> 16:02x}/{number >> 8 & 255:02x}/{number}.dcm",
        {
            Level.PATIENT: {"PatientID": (f"ID{patient}",), "PatientName": (f"Name{patient % 5000}^Given{patient}",)},
            Level.STUDY: {
                "StudyInstanceUID": (uid,),
                "StudyDate": (f"{2000 + study % 25}{1 + study % 12:02}{1 + study % 28:02}",),
                "AccessionNumber": (f"A{study}",),
                "StudyDescription": ("CT of the head",),
            },
            Level.SERIES: {"SeriesInstanceUID": (f"{uid}.{series}",), "Modality": ("CT",)},
            Level.IMAGE: {
                "SOPInstanceUID": (f"{uid}.{series}.{number}",),
                "SOPClassUID": (CT,),
                "InstanceNumber": (str(number % OF_SERIES),),
            },
        },
        transfer_syntax="1.2.840.10008.1.2.1",
    )


def keys(study: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the queries by name."""
    patient = study * OF_STUDY // OF_PATIENT
    yield "UID", {"StudyInstanceUID": f"1.2.826.{study}"}
    yield "Patient ID", {"PatientID": f"ID{patient}"}
    yield "accession number", {"AccessionNumber": f"A{study}"}
    yield (
        "date and name",
        {"StudyDate": f"{2000 + study % 25}0101-{2000 + study % 25}1231", "PatientName": f"Name{patient % 5000}^*"},
    )
    yield "name prefix", {"PatientName": f"Name{patient % 5000}^Given{patient}*"}


def make_files(folder: Path, count: int) -> None:
    """Make an empty file for each object, with the size and time of its row, so that a scan does not read it again."""
    made: set[Path] = set()
    for number in range(count):
        path = folder / header(number).location
        if path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        path.touch()
        os.utime(path, ns=(0, 0))


async def main() -> None:
    """Serve, fill and query, on command."""
    folder = Path(options()["folder"])
    archive = await Archive.open(folder, scan=False)
    server = aiodimse.Server(ae_title="ARCHIVE")
    provide(server, archive)

    async def fill(count: int) -> dict[str, Any]:
        started = time.perf_counter()
        for start in range(0, count, AT_ONCE):
            await archive.index.add([header(number) for number in range(start, min(start + AT_ONCE, count))])
        seconds = time.perf_counter() - started
        await asyncio.to_thread(make_files, folder, count)
        await archive.index.set_complete()  # so that later starts do not wait for a scan
        return {"seconds": seconds, "instances": (await archive.index.counts()).instances}

    async def find(port: int, count: int, times: int) -> dict[str, Any]:
        took: dict[str, list[float]] = {}
        studies, found = count // OF_STUDY, 0
        async with aiodimse.connect("127.0.0.1", port, called_ae_title="ARCHIVE", contexts=[FIND]) as association:
            for time_ in range(times):
                for name, wanted in keys(time_ * 7919 % studies):
                    identifier = Dataset()
                    identifier.QueryRetrieveLevel, identifier.StudyDescription = "STUDY", ""
                    for keyword, value in {"StudyInstanceUID": "", **wanted}.items():
                        setattr(identifier, keyword, value)
                    started = time.perf_counter()
                    found += bool(await association.c_find(identifier, FIND).collect())
                    took.setdefault(name, []).append(1000 * (time.perf_counter() - started))
        return {"found": found, "medians": {name: statistics.median(each) for name, each in took.items()}}

    async with server.listen("127.0.0.1", 0) as listening:
        await run_commands({"fill": fill, "find": find}, port=listening.port)
    await archive.close()


if __name__ == "__main__":
    go(main)
