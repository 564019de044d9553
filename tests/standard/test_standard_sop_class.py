"""The SOP class rows against PS3.6 as pydicom has it, and against the table of query and retrieve classes."""

from __future__ import annotations

import copy
import csv
import pickle
from pathlib import Path

import pytest
from pydicom._uid_dict import UID_dictionary
from rows import for_each_row

from aiodimse.standard import service_class, sop_class, storage_sop_class
from aiodimse.standard.uid import SOPClass

DATA = Path(__file__).parents[1] / "data" / "standard"
QR_ROWS = list(csv.DictReader((DATA / "qr_sop_classes.csv").read_text().splitlines()))
ROWS = sop_class.known()
# PS3.6 keywords by UID. Two retired SOP classes lost their names with edition 2015c.
REGISTRY = {
    uid: (keyword, bool(retired))
    for uid, (_, kind, _, retired, keyword) in UID_dictionary.items()
    if kind in ("SOP Class", "Meta SOP Class") and keyword
}


def test_every_sop_class_of_the_registry_has_a_row():
    assert {row: (row.keyword, row.retired) for row in ROWS if row in REGISTRY} == REGISTRY


def test_rows_beside_the_registry_are_the_later_ones_only():
    later = {row for row in ROWS if row not in REGISTRY}
    assert later == set(storage_sop_class.LATER)
    assert later <= set(sop_class.OTHER_STORAGE)


def test_no_uid_and_no_keyword_twice():
    assert len({row.keyword for row in ROWS}) == len(ROWS) == len(set(ROWS))


@for_each_row(ROWS, lambda row: row.keyword)
def test_row(row: SOPClass):
    assert getattr(sop_class, row.keyword) is row
    assert sop_class.lookup(row) is row
    assert row.commands <= row.service_class.commands
    assert row.service_class in service_class.ALL
    assert row.carries
    assert all(sop_class.lookup(uid) is not None for uid in row.carries + row.related_general)


@for_each_row(QR_ROWS, lambda row: row["keyword"])
def test_query_and_retrieve_row(expected: dict[str, str]):
    row = sop_class.lookup(expected["uid"])
    assert row is not None
    assert row.keyword == expected["keyword"]
    assert row.commands == {expected["command"]}
    assert row.service_class.name == expected["service_class"].replace("Q/R", "Query/Retrieve")
    table = {
        "C-FIND": sop_class.QUERY_RETRIEVE_FIND,
        "C-GET": sop_class.QUERY_RETRIEVE_GET,
        "C-MOVE": sop_class.QUERY_RETRIEVE_MOVE,
    }[expected["command"]]
    assert row in table


def test_query_and_retrieve_tables_hold_nothing_else():
    tables = sop_class.QUERY_RETRIEVE_FIND + sop_class.QUERY_RETRIEVE_GET + sop_class.QUERY_RETRIEVE_MOVE
    assert sorted(tables) == sorted(row["uid"] for row in QR_ROWS)
    assert len(tables) == 44


def test_storage_is_what_the_registry_calls_storage():
    named = {uid for uid, (keyword, retired) in REGISTRY.items() if "Storage" in keyword and not retired}
    assert set(sop_class.STORAGE) == named - {sop_class.StorageCommitmentPushModel}
    assert len(sop_class.STORAGE) == 185
    assert not set(sop_class.STORAGE) & set(sop_class.OTHER_STORAGE)


def test_ranked_storage_fills_an_association():
    ranked = sop_class.GET_STORAGE_RANKED
    assert len(set(ranked)) == len(ranked) >= 126
    assert ranked[0] is sop_class.CTImageStorage
    assert set(ranked) <= set(sop_class.STORAGE) | set(sop_class.OTHER_STORAGE)


def test_ups_pull_and_watch_answer_find_too():
    for row in (sop_class.UnifiedProcedureStepPull, sop_class.UnifiedProcedureStepWatch):
        assert "C-FIND" in row.commands
        assert sop_class.UnifiedProcedureStepPush in row.carries


def test_meta_class_carries_its_parts():
    assert sop_class.BasicFilmBox in sop_class.BasicGrayscalePrintManagementMeta.carries
    assert sop_class.BasicGrayscalePrintManagementMeta not in sop_class.BasicGrayscalePrintManagementMeta.carries


def test_a_row_is_its_uid():
    row = sop_class.CTImageStorage
    assert row == "1.2.840.10008.5.1.4.1.1.2"
    assert {row: 1}["1.2.840.10008.5.1.4.1.1.2"] == 1
    assert f"{row}" == "1.2.840.10008.5.1.4.1.1.2"


@pytest.mark.parametrize("remake", [copy.copy, copy.deepcopy, lambda row: pickle.loads(pickle.dumps(row))])
def test_a_row_survives_copy_and_pickle(remake):
    row = sop_class.UnifiedProcedureStepPull
    again = remake(row)
    assert (again, again.keyword, again.commands, again.carries) == (row, row.keyword, row.commands, row.carries)


def test_unknown_uid_has_no_row():
    assert sop_class.lookup("1.2.3") is None


@pytest.fixture
def registering(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sop_class, "_BY_UID", dict(sop_class._BY_UID))


def test_register(registering):
    row = sop_class.register("1.2.3.4", "Mine")
    assert sop_class.lookup("1.2.3.4") is row
    assert (row.keyword, row.service_class, row.commands) == ("Mine", service_class.STORAGE, {"C-STORE"})
    assert sop_class.register("1.2.3.4", "Mine") is row
    assert row in sop_class.known("C-STORE")
    assert sop_class.register("1.2.3.5").keyword == "1.2.3.5"
    find = sop_class.register("1.2.3.6", service_class=service_class.QUERY_RETRIEVE, commands=["C-FIND"])
    assert find in sop_class.known("C-FIND", service_class.QUERY_RETRIEVE)


@pytest.mark.parametrize(
    ("uid", "keyword"),
    [("", None), ("1", None), ("1..2", None), ("1.02", None), ("1.2.x", None), ("1." + "2" * 63, None), ("1.٢", None)],
)
def test_register_refuses_what_is_no_uid(registering, uid, keyword):
    with pytest.raises(ValueError, match="not a UID"):
        sop_class.register(uid, keyword)


def test_register_refuses_another_meaning(registering):
    with pytest.raises(ValueError, match="CTImageStorage"):
        sop_class.register(sop_class.CTImageStorage, "Mine")
