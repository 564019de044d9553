"""Runs the cases against a provider: `python -m aiodimse.testing.hostile HOST PORT`."""

from __future__ import annotations

import argparse
import asyncio
import sys

from aiodimse.testing.hostile.case import Case
from aiodimse.testing.hostile.cases import all_cases
from aiodimse.testing.hostile.run import SILENT_AT_ONCE, Hostile, NoProvider, Report


def main() -> int:
    """Run the cases and print the table. Return 0 if every answer is as expected."""
    parser = argparse.ArgumentParser(
        prog="python -m aiodimse.testing.hostile", description="Test a DICOM provider against hostile peers."
    )
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--called", default="ANY-SCP", help="the provider's AE title")
    parser.add_argument(
        "--waits", type=float, help="seconds that the provider's deadlines take; without it, no silence"
    )
    parser.add_argument("--fin", action="store_true", help="expect the provider to close connections as aiodimse does")
    parser.add_argument(
        "--silent-at-once", type=int, default=SILENT_AT_ONCE, help="cases of silence at a time, %(default)s"
    )
    parser.add_argument("--only", default="", help="only cases whose name contains these words")
    args = parser.parse_args()
    cases = [case for case in all_cases() if args.only in case.name and (args.waits is not None or not case.waits)]
    if not cases:
        parser.error(
            f"no case has {args.only!r} in its name{'' if args.waits else ', or those that have need --waits'}"
        )
    hostile = Hostile(
        args.host,
        args.port,
        called=args.called,
        waits=args.waits,
        fin=args.fin,
        silent_at_once=args.silent_at_once,
    )
    try:
        report = asyncio.run(_run(hostile, cases))
    except NoProvider as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 130
    for line in report.lines():
        print(line)
    return 0 if report.ok else 1


async def _run(hostile: Hostile, cases: list[Case]) -> Report:
    """Run the cases, and show the progress on standard error."""
    await hostile.check()
    done, is_terminal = 0, sys.stderr.isatty()
    start, end = ("\r", "") if is_terminal else ("", "\n")

    def progress() -> None:
        nonlocal done
        done += 1
        if is_terminal or done % 500 == 0:
            print(f"{start}{done} of {len(cases)} cases", end=end, file=sys.stderr, flush=True)

    report = await hostile.run(cases, progress)
    if is_terminal:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return report


if __name__ == "__main__":
    sys.exit(main())
