"""Where data sets are encoded that go out with a command other than C-STORE."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydicom import Dataset

from aiodimse import DatasetEncodeError, EncodedDataset, datasets
from aiodimse.services.encoding import encode_identifier, encode_response
from aiodimse.standard.transfer_syntax import ExplicitVRLittleEndian, ImplicitVRLittleEndian


def uids(count: int) -> Dataset:
    dataset = Dataset()
    dataset.StudyInstanceUID = [f"1.2.{number}" for number in range(count)]
    return dataset


def nested(count: int) -> Dataset:
    dataset = Dataset()
    dataset.ReferencedStudySequence = [uids(3) for _ in range(count)]
    return dataset


def text(count: int) -> Dataset:
    dataset = Dataset()
    dataset.PatientComments = "x" * count
    return dataset


@pytest.mark.parametrize("encode", ["encode_dataset", "encode_response"])
@pytest.mark.parametrize(
    ("made", "is_large"),
    [
        (uids(500), False),
        (uids(5000), True),
        (nested(100), False),
        (nested(2000), True),
        (text(10_000), False),
        (text(1 << 19), True),
    ],
)
async def test_a_large_one_is_encoded_off_the_loop(
    monkeypatch: pytest.MonkeyPatch, encode: str, made: Dataset, is_large: bool
) -> None:
    threads: list[int] = []
    original: Callable[..., bytes] = getattr(datasets, encode)

    def noting(*args: Any) -> bytes:
        threads.append(threading.get_ident())
        return original(*args)

    monkeypatch.setattr(datasets, encode, noting)
    ours = encode_identifier if encode == "encode_dataset" else encode_response
    assert await ours(made, ExplicitVRLittleEndian) == original(made, ExplicitVRLittleEndian)
    assert [each != threading.get_ident() for each in threads] == [is_large]


async def test_one_nested_deeper_than_the_stack_is_refused() -> None:
    made = Dataset()
    for _ in range(3000):
        outer = Dataset()
        outer.ReferencedStudySequence = [made]
        made = outer
    with pytest.raises(DatasetEncodeError, match="too deep"):
        await encode_identifier(made, ExplicitVRLittleEndian)


async def test_what_is_encoded_already_is_sent_in_its_own_transfer_syntax_alone() -> None:
    encoded = EncodedDataset(b"", ExplicitVRLittleEndian)
    assert await encode_identifier(encoded, ExplicitVRLittleEndian) == b""
    with pytest.raises(DatasetEncodeError, match="but the presentation context has"):
        await encode_response(encoded, ImplicitVRLittleEndian)
    with pytest.raises(DatasetEncodeError, match="not str"):
        await encode_response("text", ExplicitVRLittleEndian)  # type: ignore[arg-type]
