from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

import aiodimse
from aiodimse.archive import Archive, provide


def make_object(
    patient: str = "P1", study: str = "1", series: str = "1", image: str = "1", **attributes: object
) -> Dataset:
    """A small MR object; UIDs are 1.2.<study>, .<series> and .<image> below that."""
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    dataset.PatientID = patient
    dataset.StudyInstanceUID = f"1.2.{study}"
    dataset.SeriesInstanceUID = f"1.2.{study}.{series}"
    dataset.SOPInstanceUID = f"1.2.{study}.{series}.{image}"
    dataset.StudyID = study
    dataset.Modality = "MR"
    dataset.InstanceNumber = image
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def write_object(path: Path, dataset: Dataset) -> Path:
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID") or generate_uid(None)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
async def port(archive: Archive) -> AsyncIterator[int]:
    """Where the archive of the test is served; a C-MOVE to itself stores what it holds."""
    server = aiodimse.Server(ae_title="ARCHIVE")
    destinations: dict[str, aiodimse.Destination | tuple[str, int]] = {}
    provide(server, archive, destinations=destinations, durable=False)
    async with server.listen("127.0.0.1", 0) as listening:
        destinations["ARCHIVE"] = ("127.0.0.1", listening.port)
        yield listening.port


@pytest.fixture
def an_object() -> Callable[..., Dataset]:
    return make_object


@pytest.fixture
def a_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes an object (see make_object) to tmp_path / name."""

    def write(name: str, **attributes: object) -> Path:
        return write_object(tmp_path / name, make_object(**attributes))  # type: ignore[arg-type]

    return write
