"""`python -m scoreboard.budgets [NAME ...]` measures some kinds; SCOREBOARD=long runs the long profile."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import sys

from scoreboard.row import Row

KINDS = ("floods", "tls_floods", "retrievals", "silent", "searches", "idle", "descriptors", "hung_disk", "poison")


def measure(kinds: tuple[str, ...] = KINDS, *, long: bool = False) -> list[Row]:
    """Measure kinds, and print each row when it is done."""
    found: list[Row] = []
    for kind in kinds:
        module = importlib.import_module(f"scoreboard.budgets.{kind}")
        for row in asyncio.run(module.rows(long)):
            print("  ".join([*row[:3], "ok" if row.passed else "FAIL"]), flush=True)
            found.append(row)
    return found


def main() -> int:
    """Measure and print. Return 1 if a row fails."""
    parser = argparse.ArgumentParser(prog="python -m scoreboard.budgets", description=__doc__)
    parser.add_argument(
        "kinds", nargs="*", metavar="NAME", choices=(*KINDS, []), help=f"one of {', '.join(KINDS)}; all"
    )
    table = measure(tuple(parser.parse_args().kinds) or KINDS, long=os.environ.get("SCOREBOARD") == "long")
    return 0 if all(row.passed for row in table) else 1


if __name__ == "__main__":
    sys.exit(main())
