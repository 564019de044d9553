"""Tests that run a whole table in one test, since a row that takes microseconds needs no separate test."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def for_each_row(rows: Iterable[Any], name: Callable[[Any], object] = str) -> Callable[[Callable[..., None]], Any]:
    """Decorate a test whose first parameter is a row: it runs once with every row.

    Its failure names each row that failed. Other parameters are fixtures, as in any test, and are the same for all.
    """
    rows = list(rows)
    assert rows

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def walk(**fixtures: Any) -> None:
            failed: list[str] = []
            first: BaseException | None = None
            for row in rows:
                try:
                    test(row, **fixtures)
                except (Exception, pytest.fail.Exception) as error:
                    first = first or error
                    failed.append(f"{name(row)}: {type(error).__name__}: {error}")
            if first is not None:
                raise AssertionError("\n".join([f"{len(failed)} of {len(rows)} rows failed", *failed])) from first

        parameters = list(inspect.signature(test).parameters.values())[1:]
        walk.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # pytest asks it for fixtures
        return walk

    return decorate
