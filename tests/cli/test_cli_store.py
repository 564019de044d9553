"""Which files share an association."""

from __future__ import annotations

from pathlib import Path

from aiodimse import Instance, sop_class
from aiodimse.cli.store import batched, kind, walk
from aiodimse.services.contexts import contexts_for_instances

IMPLICIT, EXPLICIT, JPEG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"


def files(*kinds: tuple[str, str]) -> list[tuple[Path, Instance]]:
    return [(Path(str(number)), Instance(uid, "1.2", syntax)) for number, (uid, syntax) in enumerate(kinds)]


def test_more_than_128_contexts_are_several_associations() -> None:
    everything = files(*((uid, syntax) for uid in sop_class.STORAGE for syntax in (EXPLICIT, JPEG)))
    batches = batched(everything)
    assert len(batches) > 1
    assert sorted(int(path.name) for batch in batches for path, _ in batch) == list(range(len(everything)))
    for batch in batches:
        assert len(contexts_for_instances({kind(instance) for _, instance in batch})) <= 128


def test_files_of_one_kind_stay_together_and_in_order() -> None:
    ct, mr = sop_class.CTImageStorage, sop_class.MRImageStorage
    (batch,) = batched(files((ct, EXPLICIT), (mr, IMPLICIT), (ct, EXPLICIT), (mr, JPEG)))
    assert [path.name for path, _ in batch] == ["0", "1", "2", "3"]


def test_hidden_files_are_not_sent(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    for name in ("b", "a", ".hidden", ".git/config"):
        (tmp_path / name).touch()
    assert [path.name for path in walk(tmp_path)] == ["a", "b"]
