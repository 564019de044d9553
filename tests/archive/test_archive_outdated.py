"""Studies with attributes of objects that are gone: when the index marks them, and when a mark goes. On every index."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from archive.databases import KINDS, open_index
from archive.test_archive_index import header
from pydicom import Dataset

from aiodimse.archive.index import File, Finding, Index

NOTHING = File("1.2.1.1.1", 1, 1, Finding.NOT_DICOM)
Make = Callable[..., Dataset]


@pytest.fixture(params=KINDS)
async def index(request: pytest.FixtureRequest, tmp_path: Path, an_object: Make) -> AsyncIterator[Index]:
    """Two objects, and a third one in another series; the attributes are those of the first one."""
    index = await open_index(request.param, tmp_path)
    for series, image in (("1", "1"), ("1", "2"), ("2", "3")):
        await index.add([header(an_object(series=series, image=image, PatientName="Doe^John"))])
    yield index
    await index.close()


async def outdated(index: Index) -> list[str]:
    return sorted(study.study_instance_uid for study in await index.outdated_studies())


@pytest.mark.parametrize(
    ("change", "is_outdated"),
    [
        (lambda index, new: index.remove(["1.2.1.1.1"]), True),
        (lambda index, new: index.note([NOTHING]), True),
        (lambda index, new: index.add([new("1.2.1.1.1", study="2", image="9")]), True),  # another object in its place
        (lambda index, new: index.add([new("x", image="1")]), True),  # it has no name any more
        (lambda index, new: index.add([new("x", image="1", PatientName="Roe")]), False),
        (lambda index, new: index.remove(["1.2.1.1.2"]), False),  # nothing comes from it
        (lambda index, new: index.remove(["1.2.1.2.3"]), False),  # its series is gone as well
        (lambda index, new: index.remove(["1.2.1.1.1", "1.2.1.1.2"]), True),
        (lambda index, new: index.remove(["1.2.1.1.1", "1.2.1.1.2", "1.2.1.2.3"]), False),
        (lambda index, new: index.add([new("y", series="2", image="4")]), False),
    ],
)
async def test_what_makes_a_study_outdated(
    index: Index, an_object: Make, change: Callable[..., Any], is_outdated: bool
) -> None:
    await change(index, lambda location, **attributes: header(an_object(**attributes), location))
    assert await outdated(index) == (["1.2.1"] if is_outdated else [])


async def test_a_series_has_attributes_of_its_own(index: Index, an_object: Make) -> None:
    await index.add([header(an_object(series="2", image="4"))])
    await index.remove(["1.2.1.2.3"])
    assert await outdated(index) == ["1.2.1"]


async def test_a_study_that_is_outdated_again_stays_so(index: Index, an_object: Make) -> None:
    """One scan reads it again, while another one finds out that the next object has gone."""
    await index.remove(["1.2.1.1.1"])
    (first,) = await index.outdated_studies()
    await index.add([header(an_object(image="2", PatientName="Doe^John"))])
    await index.remove(["1.2.1.1.2"])
    (second,) = await index.outdated_studies()
    assert first.mark != second.mark
    await index.set_current(first)
    assert await index.outdated_studies() == [second]
    await index.set_current(second)
    assert await outdated(index) == []


async def test_a_mark_goes_with_its_study(index: Index, an_object: Make) -> None:
    """The study of the same UID that another patient has keeps its own."""
    for image in ("7", "8"):
        await index.add([header(an_object("P2", image=image, PatientName="Roe^Jane"))])
    await index.remove(["1.2.1.1.1", "1.2.1.1.7"])
    assert await outdated(index) == ["1.2.1", "1.2.1"]
    await index.remove(["1.2.1.1.2", "1.2.1.2.3"])
    assert await outdated(index) == ["1.2.1"]
    await index.add([header(an_object(image="1"))])
    assert await outdated(index) == ["1.2.1"]
    await index.remove(["1.2.1.1.8"])
    assert await outdated(index) == []
