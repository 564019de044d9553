"""Which handler serves a SOP class, whatever the order in which they were registered."""

from __future__ import annotations

import functools
import re
from itertools import permutations
from typing import Any

import pytest

import aiodimse
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


@pytest.mark.parametrize(
    ("uids", "what"), [((), "C-STORE without SOP classes"), ((CT,), "C-STORE of CTImageStorage")], ids=["all", "one"]
)
def test_a_second_handler_of_a_kind_is_refused(uids: tuple[str, ...], what: str) -> None:
    handlers = HandlerRegistry()
    handlers.register("C-STORE", uids, general)
    first, second = (f"{each.__module__}.{each.__qualname__}" for each in (general, another))
    expected = f"{what} has a handler already, {first}, which {second} cannot replace"
    with pytest.raises(aiodimse.LocalProtocolError, match=re.escape(expected)):
        handlers.register("C-STORE", uids, another)
    assert served("C-STORE", handlers, CT) is general


def test_a_registration_that_is_refused_changes_nothing() -> None:
    handlers = HandlerRegistry()
    handlers.register("C-STORE", (CT,), special)
    with pytest.raises(aiodimse.LocalProtocolError, match="CTImageStorage"):
        handlers.register("C-STORE", (MR, CT), another)
    assert handlers.find("C-STORE", MR) is None
    assert MR not in handlers.offer().served


def test_a_server_refuses_a_second_handler_and_takes_one_for_another_service() -> None:
    server = aiodimse.Server()
    server.on_n_get("1.2.3")(general)
    server.on_n_set("1.2.3")(general)
    with pytest.raises(aiodimse.LocalProtocolError, match=r"N-GET of 1\.2\.3 has a handler already"):
        server.on_n_get("1.2.3")(functools.partial(general))
    server.on_n_get("1.2.4")(general)


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
