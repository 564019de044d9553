"""The canary: a patient whose name must sing in no log. Not called so, for paths and test names are logged."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from aiodimse.aio.log import FIELDS

NAME, ID, NUMBER = "Zeisig^Hans", "ZEISIG-4711", b"ZEISIG"
PASSWORD = b"zeisig-password"
_HEX = re.compile(b"zeisig".hex(" ").replace(" ", r"[ :]?"))


def patient(**more: Any) -> Dataset:
    """A data set about the canary; the Instance Number is none."""
    tag = Tag("InstanceNumber")
    dataset = Dataset({tag: RawDataElement(tag, "IS", len(NUMBER), NUMBER, 0, False, True)})
    dataset.PatientName, dataset.PatientID = NAME, ID
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    return dataset


def save_as(dataset: Dataset, path: Path, **options: Any) -> None:
    """Save by pydicom, whose own words about the values that it writes are not what is tested."""
    logger = logging.getLogger("pydicom")
    logger.disabled = True
    try:
        dataset.save_as(path, **options)
    finally:
        logger.disabled = False


def instance(number: int = 1, **more: Any) -> Dataset:
    """A CT image of the canary."""
    return patient(SOPClassUID="1.2.840.10008.5.1.4.1.1.2", SOPInstanceUID=f"1.2.3.{number}", **more)


def sings(text: object) -> bool:
    """The canary is in it."""
    words = str(text).casefold()
    return "zeisig" in words or _HEX.search(words) is not None


def texts(record: logging.LogRecord) -> list[object]:
    """All that a formatter could show of a record."""
    found: list[object] = [record.getMessage(), record.msg, *vars(record).values()]
    found += map(repr, record.args.values() if isinstance(record.args, dict) else record.args or ())
    if record.exc_info and record.exc_info[1] is not None:
        found += traceback.format_exception(record.exc_info[1])
    return found


class Log(logging.Handler):
    """Everything at DEBUG."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def lines(self, words: str, level: int = logging.DEBUG) -> list[logging.LogRecord]:
        return [each for each in self.records if words in each.getMessage() and each.levelno >= level]


@pytest.fixture(autouse=True)
async def log(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Log]:
    """All loggers at DEBUG; afterwards no record may have the canary in it, and each of ours has all fields."""
    handler, root = Log(), logging.getLogger()
    names = ("", "aiodimse", "asyncio", "pydicom")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
    heard = [(record.name, text) for record in handler.records for text in texts(record) if sings(text)]
    assert heard == []
    ours = [record for record in handler.records if record.name.startswith("aiodimse.")]
    assert [record.getMessage() for record in ours if not vars(record).keys() >= set(FIELDS)] == []
