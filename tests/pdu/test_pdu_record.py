"""Record against what dataclass would have made."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from aiodimse.dimse.messages import CEchoRQ, CStoreRQ
from aiodimse.record import Record


class Twins:
    @dataclass(frozen=True, slots=True)
    class Made:
        number: int
        hidden: str = field(default="", repr=False)
        aside: int = field(default=0, compare=False)

    @dataclass(frozen=True, slots=True, eq=False, repr=False)
    class Shared(Record):
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
