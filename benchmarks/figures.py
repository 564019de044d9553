"""`python -m benchmarks.figures`: write the rows of the last full run that have a bar to docs/topics/figures.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

from benchmarks import table
from benchmarks.processes import ROOT

PAGE = ROOT / "docs" / "topics" / "figures.md"
BESIDE = ("save-ct-fsync",)
"""Rows without a bar that the page shows as well."""
BLOCK = re.compile(r"(?<=<!-- make bench -->\n).*?(?=<!-- end -->)", re.DOTALL)


def rendered(results: Path | None = None) -> str:
    """Return the rows, and a line about the machine and the versions."""
    found = json.loads((results or table.results_folder() / "table.json").read_text(encoding="utf-8"))
    rows = [row for row in found["rows"] if row["bar"] is not None or row["name"] in BESIDE]
    about = ", ".join(f"{key} {value}" for key, value in found["about"].items())
    return f"{table.as_markdown([row['cells'] for row in rows])}\n\n{about}\n"


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda _: rendered(), text), encoding="utf-8")


if __name__ == "__main__":
    main()
