"""The event loops that are here: asyncio's, and uvloop's where it is installed, as in none of the venvs of test-all."""

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
"""A test that calls `run` with what it does."""
