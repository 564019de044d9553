"""python -m aiodimse.testing.hostile HOST PORT"""

from __future__ import annotations

import argparse
import asyncio
import sys

from aiodimse.testing.hostile.cases import all_cases
from aiodimse.testing.hostile.run import SILENT_AT_ONCE, Hostile


def main() -> int:
    """Run the cases and print the table; 0 when all is as it must be."""
    parser = argparse.ArgumentParser(prog="aiodimse.testing.hostile", description="Be rude to a DICOM provider.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--called", default="ANY-SCP", help="the provider's AE title")
    parser.add_argument("--waits", type=float, help="seconds that the provider's deadlines take; without: no silence")
    parser.add_argument("--fin", action="store_true", help="the provider is to close as aiodimse does")
    parser.add_argument("--silent-at-once", type=int, default=SILENT_AT_ONCE, help="of such cases, %(default)s")
    parser.add_argument("--only", default="", help="only cases whose name has these words")
    args = parser.parse_args()
    cases = [case for case in all_cases() if args.only in case.name]
    hostile = Hostile(
        args.host,
        args.port,
        called=args.called,
        waits=args.waits,
        fin=args.fin,
        silent_at_once=args.silent_at_once,
    )
    report = asyncio.run(hostile.run(cases))
    for line in report.lines():
        print(line)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
