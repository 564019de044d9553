"""The available event loops: asyncio's, and uvloop's if it is installed, which the venvs of test-all do not have."""

from __future__ import annotations

import asyncio
import importlib.util
from typing import Any

import pytest


def _run_on_uvloop(main: Any) -> Any:
    import uvloop

    return uvloop.run(main)


_NEEDS = pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")
on_each_loop = pytest.mark.parametrize(
    "run", [pytest.param(asyncio.run, id="asyncio"), pytest.param(_run_on_uvloop, id="uvloop", marks=_NEEDS)]
)
"""A test that calls `run` with its coroutine."""
