"""record() against what dataclass would have made."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from aiodimse import pdu
from aiodimse.dimse.messages import CEchoRQ, CStoreRQ
from aiodimse.record import record


class Twins:
    @dataclass(frozen=True, slots=True)
    class Made:
        number: int
        hidden: str = field(default="", repr=False)
        aside: int = field(default=0, compare=False)

    @record(frozen=True)
    class Shared:
        number: int
        hidden: str = field(default="", repr=False)
        aside: int = field(default=0, compare=False)


VALUES = [(1,), (1, "a"), (1, "a", 2), (1, "a", 3), (2,), ("1",)]


@pytest.mark.parametrize("left", VALUES)
@pytest.mark.parametrize("right", VALUES)
def test_a_record_is_equal_to_what_its_twin_is_equal_to(left, right):
    ours, theirs = ([twin(*left), twin(*right)] for twin in (Twins.Shared, Twins.Made))
    assert (ours[0] == ours[1]) == (theirs[0] == theirs[1])
    assert (hash(ours[0]) == hash(ours[1])) == (hash(theirs[0]) == hash(theirs[1]))
    assert repr(ours[0]) == repr(theirs[0]).replace("Made", "Shared")
    assert ours[0] != theirs[0]
    assert ours[0] != left


def test_messages_of_two_kinds_differ_and_have_no_hash():
    echo = CEchoRQ(message_id=1, affected_sop_class_uid="1.2")
    assert (
        echo
        == CEchoRQ(message_id=1, affected_sop_class_uid="1.2")
        != CEchoRQ(message_id=2, affected_sop_class_uid="1.2")
    )
    assert echo != CStoreRQ(message_id=1, affected_sop_class_uid="1.2", affected_sop_instance_uid="")
    assert repr(echo) == "CEchoRQ(has_data_set=False, message_id=1, affected_sop_class_uid='1.2')"
    with pytest.raises(TypeError):
        hash(echo)


def test_what_can_change_has_no_hash():
    for value in (pdu.AssociateRQ("A", "B", (), pdu.UserInformation()), pdu.Abort(0, 0), pdu.MaximumLength(1)):
        with pytest.raises(TypeError, match="unhashable"):
            hash(value)
    assert hash(pdu.CommonExtendedNegotiation("1.2", "1.3")) == hash(pdu.CommonExtendedNegotiation("1.2", "1.3"))


def test_records_are_dataclasses_with_slots():
    made = replace(pdu.Abort(2, 0), reason=6)
    assert (made, pickle.loads(pickle.dumps(made))) == (pdu.Abort(2, 6), made)
    with pytest.raises(AttributeError):
        made.more = 1
    with pytest.raises(FrozenInstanceError):
        pdu.CommonExtendedNegotiation("1.2", "1.3").sop_class_uid = "1.4"
