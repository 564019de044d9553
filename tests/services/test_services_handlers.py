"""Which handler serves a SOP class, whatever the order in which they were registered."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from aiodimse import sop_class
from aiodimse.services.provider.registry import HandlerRegistry

CT, MR, US = (
    str(uid) for uid in (sop_class.CTImageStorage, sop_class.MRImageStorage, sop_class.UltrasoundImageStorage)
)


async def special(request: Any) -> int:
    return 0


async def general(request: Any) -> int:
    return 0


async def another(request: Any) -> int:
    return 0


def served(service: str, handlers: HandlerRegistry, uid: str) -> Any:
    found = handlers.find(service, uid)
    return None if found is None else found.handler


REGISTERED = {"CT": ((CT,), special), "all": ((), general), "MR": ((MR,), another)}


@pytest.mark.parametrize("order", list(permutations(REGISTERED)), ids=" ".join)
def test_the_handler_of_a_sop_class_goes_before_the_one_for_all(order: tuple[str, ...]) -> None:
    handlers = HandlerRegistry()
    for name in order:
        handlers.register("C-STORE", *REGISTERED[name])
    assert [served("C-STORE", handlers, uid) for uid in (CT, MR, US)] == [special, another, general]


@pytest.mark.parametrize("uids", [(), (CT,)], ids=["for all", "for one"])
def test_of_two_of_a_kind_the_later_counts(uids: tuple[str, ...]) -> None:
    handlers = HandlerRegistry()
    handlers.register("C-STORE", uids, general)
    handlers.register("C-STORE", uids, another)
    assert served("C-STORE", handlers, CT) is another


@pytest.mark.parametrize("first", [True, False])
def test_the_transfer_syntaxes_are_those_of_the_handler_that_serves(first: bool) -> None:
    handlers = HandlerRegistry()
    if not first:
        handlers.register("C-STORE", (), general)
    handlers.register("C-STORE", (CT,), special, transfer_syntaxes=["1.2.840.10008.1.2"])
    if first:
        handlers.register("C-STORE", (), general)
    assert handlers.offer().served[CT].transfer_syntaxes == ("1.2.840.10008.1.2",)
    assert handlers.offer().served[MR].transfer_syntaxes is None
