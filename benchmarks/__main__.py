"""`python -m benchmarks`: measure the selected rows, print one table, and write it and its JSON."""

from __future__ import annotations

import argparse
import fnmatch
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import machine, table, works  # noqa: F401  # works registers itself
from benchmarks.bench import WORKS, Bench, measure
from benchmarks.measure import Figure
from benchmarks.processes import raise_open_files

QUICK_PAIRS = 2


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--row", action="append", default=[], help="a row by its name, or a pattern (store-*); again for more"
    )
    parser.add_argument("--bars", action="store_true", help="only rows that have a bar")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, two pairs: not for quoting")
    parser.add_argument("--pairs", type=int, help="how many pairs (5)")
    parser.add_argument("--objects", type=int, help="in the archives of archive-find-orthanc (100000)")
    parser.add_argument("--list", action="store_true", help="say which rows there are")
    parser.add_argument("--again", action="store_true", help="put these rows into the results of the last whole run")
    parser.add_argument("--output", type=Path, help="folder for table.txt and table.json")
    parser.add_argument("--folder", type=Path, help="where files are made and saved (a temporary folder)")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    rows = [row for entry in WORKS for row in entry.rows]
    if options.list:
        for row in rows:
            against = f" vs {row.against}" if row.against else ""
            print(f"{row.name:22} {row.work}{against}{'' if row.bar is None else f'  (bar {row.bar:g})'}")
        return 0
    chosen = frozenset(
        row.name
        for row in rows
        if (not options.row or any(fnmatch.fnmatch(row.name, pattern) for pattern in options.row))
        and (row.bar is not None or not options.bars)
    )
    if not chosen:
        print("no such row; --list says which there are", file=sys.stderr)
        return 2
    everything = len(chosen) == len(rows) and not options.quick
    pairs = options.pairs or (QUICK_PAIRS if options.quick else 5)
    notes = [raise_open_files()]
    about = {**machine.description(), "pairs": pairs, "quick": options.quick, "load at start": machine.load()}
    started = time.monotonic()
    figures: list[Figure] = []
    folder = Path(tempfile.mkdtemp(prefix="aiodimse-bench-", dir=options.folder))
    try:
        about.update(machine.pace(folder))
        for entry in WORKS:
            if wanted := chosen & {row.name for row in entry.rows}:
                print(f"measuring {', '.join(sorted(wanted))} ...", file=sys.stderr, flush=True)
                found = measure(Bench(folder, pairs=pairs, quick=options.quick, objects=options.objects), entry, wanted)
                figures += found
                for figure in found:
                    print("   ", *table.cells(figure)[::5], figure.verdict, figure.problem, file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    about["load at end"], about["seconds"] = machine.load(), round(time.monotonic() - started)
    notes += [", ".join(f"{key} {value}" for key, value in about.items())]
    if options.quick:
        notes.insert(0, "QUICK: a tenth of the work and few pairs. Not for quoting.")
    text = table.printed(figures, notes)
    print(text)
    output = options.output or (table.results_folder() if everything else None)
    if options.again:
        table.write_again(table.results_folder(), figures, about)
    elif output is not None:
        table.write(output, table.as_rows(figures), about, text)
    return any(figure.verdict == "FAIL" for figure in figures)


if __name__ == "__main__":
    sys.exit(main())
