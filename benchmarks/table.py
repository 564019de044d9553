"""The table, as text and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiodimse
from benchmarks.measure import Figure

HEADINGS = ("row", "work", "ours", "against", "peer", "figure", "bar", "")


def results_folder() -> Path:
    """Return the folder of the last whole run of this version."""
    return Path(__file__).parent / "results" / aiodimse.__version__


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" + (f" {unit}" if unit != "x" else "")


def cells(figure: Figure) -> tuple[str, ...]:
    """Return one line of the table."""
    row = figure.row
    bar = "" if row.bar is None else f"{'' if row.sign == '>=' else 'at most '}{row.bar:g}"
    return (
        row.name, row.work, figure.ours, row.against, figure.peer, _number(figure.value, row.unit), bar, figure.verdict,
    )  # fmt: skip


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return cells in aligned columns under their headings."""
    lines = [HEADINGS, *rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(HEADINGS))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def printed(figures: Sequence[Figure], notes: Sequence[str]) -> str:
    """Return the table, followed by problems and notes."""
    text = as_markdown([cells(figure) for figure in figures])
    problems = [f"- {figure.row.name}: {figure.problem}" for figure in figures if figure.problem]
    return "\n".join([text, "", *problems, *([""] if problems else []), *notes, ""])


def as_rows(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """Return everything about the figures, with every sample."""
    return [
        {**dataclasses.asdict(f.row), "value": f.value, "ours": f.ours, "peer": f.peer, "verdict": f.verdict,
         "problem": f.problem, "cells": list(cells(f)), "samples": f.samples}
        for f in figures
    ]  # fmt: skip


def write(folder: Path, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any], text: str) -> None:
    """Write table.txt and table.json into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.txt").write_text(text, encoding="utf-8")
    (folder / "table.json").write_text(
        json.dumps({"about": dict(about), "rows": rows}, indent=1) + "\n", encoding="utf-8"
    )


def write_again(folder: Path, figures: Sequence[Figure], about: Mapping[str, Any]) -> None:
    """Put rows that were measured again into the last whole run, which says when and at which commit that was.

    Rows that did not exist then follow the others.
    """
    last = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    new = {row["name"]: row for row in as_rows(figures)}
    rows = list(({row["name"]: row for row in last["rows"]} | new).values())
    when = f"{about['date']} at {about['commit']}"
    whole = {**last["about"], "measured again": {**last["about"].get("measured again", {}), **dict.fromkeys(new, when)}}
    notes = [f"- {row['name']}: {row['problem']}" for row in rows if row["problem"]]
    notes.append(", ".join(f"{key} {value}" for key, value in whole.items()))
    write(folder, rows, whole, "\n".join([as_markdown([row["cells"] for row in rows]), "", *notes, ""]))
