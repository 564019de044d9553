"""What connect() and the decorators of a Server refuse at once, in words that say what to write instead."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import ConnectOptions, PresentationContext, sop_class, testing
from aiodimse.errors import LocalProtocolError

GET = sop_class.StudyRootQueryRetrieveInformationModelGet
CT = sop_class.CTImageStorage


def connect(*contexts: Any, **more: Any) -> Any:
    return aiodimse.connect("localhost", 104, **{"contexts": list(contexts), **more})


@pytest.mark.parametrize("alone", [CT, "", PresentationContext(CT), b"1.2", None, 7])
@pytest.mark.parametrize("name", ["contexts", "storage", "transfer_syntaxes"])
def test_one_where_several_are_wanted(name: str, alone: Any) -> None:
    if alone is None and name != "contexts":
        connect(PresentationContext(CT, transfer_syntaxes=None), storage=None)
        return
    contexts, more = [GET], {name: alone}
    if name == "transfer_syntaxes":
        contexts, more = [PresentationContext(CT, alone)], {}
    with pytest.raises(TypeError, match=f"{name} wants several, in a list for instance, not one alone"):
        connect(*contexts, **more)


@pytest.mark.parametrize("alone", ["image.dcm", Path("image.dcm")])
def test_one_path(alone: Any) -> None:
    with pytest.raises(TypeError, match="paths wants several"):
        aiodimse.contexts_for(alone)


@pytest.mark.parametrize("several", [(CT,), {CT: 1}, {CT}, iter([CT])])
def test_several_in_what_there_is(several: Any) -> None:
    assert connect(contexts=several)._plan.rq.contexts[0].abstract_syntax == CT


@pytest.mark.parametrize("wrong", ["", " ", f"{CT} ", "CTImageStorage", "1", "1..2", "1.2.", "1." + "2" * 63, "1.٢"])
def test_what_is_no_uid(wrong: str) -> None:
    for contexts in ([wrong], [CT, PresentationContext(wrong)], [PresentationContext(CT, [wrong])]):
        with pytest.raises(LocalProtocolError, match="not a UID"):
            connect(contexts=contexts)
    with pytest.raises(LocalProtocolError, match="not a UID"):
        connect(GET, storage=[wrong])
    server = aiodimse.Server()
    with pytest.raises(LocalProtocolError, match="not a UID"):
        server.on_c_store(wrong)(returns)
    with pytest.raises(LocalProtocolError, match="not a UID"):
        server.on_c_store(CT, transfer_syntaxes=[wrong])(returns)


@pytest.mark.parametrize("wrong", [None, [CT], 7])
def test_what_is_no_context(wrong: Any) -> None:
    with pytest.raises(TypeError, match="a presentation context is a SOP class UID or PresentationContext, not"):
        connect(CT, wrong)
    with pytest.raises(TypeError, match="one by one"):
        aiodimse.Server().on_c_store(wrong, CT)(returns)


def test_a_uid_that_others_have_made_badly() -> None:
    connect("1.2.826.0.1.03680043")


def test_one_transfer_syntax_for_a_handler() -> None:
    with pytest.raises(TypeError, match="transfer_syntaxes wants several"):
        aiodimse.Server().on_c_store(transfer_syntaxes="1.2.840.10008.1.2")(returns)


# --- handlers ---------------------------------------------------------------------------------------------------------


async def returns(request: Any) -> int:
    return 0x0000


async def yields(request: Any) -> AsyncIterator[int]:
    yield 0x0000


def yields_plainly(request: Any) -> Any:
    yield 0x0000


class Yields:
    async def __call__(self, request: Any) -> AsyncIterator[int]:
        yield 0x0000


class YieldsPlainly:
    def __call__(self, request: Any) -> Any:
        yield 0x0000


ONE_ANSWER = [
    "on_c_echo",
    "on_c_store",
    *(f"on_n_{what}" for what in ["event_report", "get", "set", "action", "create", "delete"]),
]


@pytest.mark.parametrize("handler", [yields, Yields(), Yields().__call__, partial(yields)])
@pytest.mark.parametrize("service", ONE_ANSWER)
def test_a_generator_for_a_service_with_one_answer(service: str, handler: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"handler returns its one answer, and yields nothing"):
        getattr(aiodimse.Server(), service)(handler)


@pytest.mark.parametrize("handler", [yields_plainly, YieldsPlainly(), partial(yields_plainly)])
@pytest.mark.parametrize("service", ["on_c_store", "on_c_find"])
def test_a_plain_generator(service: str, handler: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"a handler that yields is an async generator"):
        getattr(aiodimse.Server(), service)(handler)


@pytest.mark.parametrize("service", ["on_c_find", "on_c_get", "on_c_move"])
def test_what_yields_may_be_an_object(service: str) -> None:
    getattr(aiodimse.Server(), service)(Yields())


async def test_a_handler_that_returns_where_others_yield() -> None:
    """Its one answer, or with None no answer."""
    find = sop_class.StudyRootQueryRetrieveInformationModelFind
    server, answers = aiodimse.Server(ae_title="A"), [Dataset(), None]

    @server.on_c_find
    async def handler(request: Any) -> Any:
        return answers.pop(0)

    async with testing.joined(server, contexts=[find]) as association:
        assert [len(await association.c_find(Dataset(), find).collect()) for _ in range(2)] == [1, 0]


def test_what_a_pool_passes_on_is_what_connect_takes() -> None:
    parameters = inspect.signature(aiodimse.connect).parameters
    keywords = {name for name, one in parameters.items() if one.kind is inspect.Parameter.KEYWORD_ONLY}
    assert ConnectOptions.__annotations__.keys() == keywords - {"contexts"}
    for name in keywords - {"contexts"}:
        assert ConnectOptions.__annotations__[name].__forward_arg__ == parameters[name].annotation
