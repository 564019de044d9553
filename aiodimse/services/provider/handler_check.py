"""Checks a handler when it is registered, so that its author finds a mistake before a peer does."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

_YIELDS = frozenset(("C-FIND", "C-GET", "C-MOVE"))
"""Services whose handlers may be generators. A handler that returns a value is treated as if it yielded it once."""

_ASYNC = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def check_handler(service: str, handler: object) -> None:
    """Raise TypeError for a handler that would block the event loop, or would fail in every call."""
    if not callable(handler):
        raise TypeError(f"a handler is an async function or async generator, not {type(handler).__name__}")
    name = _name(handler)
    functions = (_unwrapped(handler), _unwrapped(type(handler).__call__))  # the handler, or the __call__ of an object
    if any(map(inspect.isgeneratorfunction, functions)):
        raise TypeError(
            f"a handler that yields is an async generator, `async def {name}(request)`: each step of a plain one would"
            " stop every other association"
        )
    is_generator = any(map(inspect.isasyncgenfunction, functions))
    if is_generator and service not in _YIELDS:
        raise TypeError(f"a {service} handler returns its one answer, and yields nothing: {name} is an async generator")
    if not is_generator and not any(map(_is_async, functions)):
        raise TypeError(
            f"{name} is no `async def`: a handler runs on the event loop, where a plain function would stop every other"
            f" association. pynetdicom's `def {name}(event)` becomes `async def {name}(request)`, and what blocks in it"
            " `await asyncio.to_thread(...)`"
        )
    _check_parameters(name, handler, ("request",))


def check_hook(what: str, hook: object, parameters: tuple[str, ...]) -> None:
    """Raise TypeError unless a hook is an `async def` with these parameters."""
    if not callable(hook) or not any(map(_is_async, (_unwrapped(hook), _unwrapped(type(hook).__call__)))):
        raise TypeError(f"{what} decorates an `async def`: a plain function would stop every other association")
    _check_parameters(_name(hook), hook, parameters)


def _check_parameters(name: str, handler: Callable[..., Any], parameters: tuple[str, ...]) -> None:
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):  # some callables have no signature
        return
    try:
        signature.bind(*parameters)
    except TypeError as error:
        raise TypeError(
            f"called with the {' and the '.join(parameters)} and nothing else, {name}{signature} fails: {error}."
            " What pynetdicom hands over as extra arguments is bound by functools.partial"
        ) from None


def _unwrapped(function: Any) -> Any:
    """Return the function inside partials, methods and decorators that use functools.wraps."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        elif (inner := getattr(function, "__wrapped__", None)) is not None and inspect.isfunction(function):
            function = inner
        else:
            return function


def _is_async(function: Any) -> bool:
    # The flags also identify objects that only look like functions, such as unittest.mock.AsyncMock.
    code = getattr(function, "__code__", None)
    if inspect.isclass(function):  # a call makes an asynchronous iterator or an awaitable
        return hasattr(function, "__aiter__") or hasattr(function, "__await__")
    return inspect.iscoroutinefunction(function) or bool(getattr(code, "co_flags", 0) & _ASYNC)


def _name(handler: object) -> str:
    return getattr(_unwrapped(handler), "__name__", type(handler).__name__)
