"""The outcome of each study: rows in a database, so that a killed pull loses none, and a CSV file made from them."""

from __future__ import annotations

import csv
import sqlite3
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """The outcome of one study, or of an accession number without a study."""

    accession_number: str
    study_instance_uid: str
    state: str
    """Complete, incomplete, not found or failed."""
    expected: int = 0
    saved: int = 0
    missing: str = ""
    """SOP Instance UIDs, separated by blanks."""
    reason: str = ""


class Manifest:
    """The last row of each accession number and study. A row is on disk when `add` returns."""

    def __init__(self, folder: Path) -> None:
        self._csv = folder / "manifest.csv"
        self._database = sqlite3.connect(folder / "manifest.db")
        columns = ", ".join(Row._fields)
        try:
            self._database.execute(
                f"CREATE TABLE IF NOT EXISTS studies ({columns}, PRIMARY KEY (accession_number, study_instance_uid))"
            )
        except sqlite3.DatabaseError as error:  # it was damaged
            raise OSError(f"{folder / 'manifest.db'}: {error}") from error

    def add(self, row: Row) -> None:
        """Store one row. A row with a study replaces the row that its accession number had without one."""
        with self._database:
            if row.study_instance_uid:
                nothing = (row.accession_number,)
                self._database.execute(
                    "DELETE FROM studies WHERE accession_number = ? AND study_instance_uid = ''", nothing
                )
            self._database.execute("INSERT OR REPLACE INTO studies VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def is_complete(self, accession_number: str, study: str) -> bool:
        """Return whether nothing of the study is missing."""
        found = self._database.execute(
            "SELECT state FROM studies WHERE accession_number = ? AND study_instance_uid = ?", (accession_number, study)
        )
        return bool(found.fetchone() == ("complete",))

    def close(self) -> dict[str, int]:
        """Write manifest.csv. Return how many rows have each state."""
        rows = self._database.execute("SELECT * FROM studies ORDER BY 1, 2").fetchall()
        states = self._database.execute("SELECT state, count(*) FROM studies GROUP BY state").fetchall()
        self._database.close()
        with self._csv.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([Row._fields, *rows])
        return dict(states)


def accession_numbers(path: Path) -> list[str]:
    """Return the distinct values of the column AccessionNumber of a CSV file."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            reader = csv.DictReader(file)
            if "AccessionNumber" not in (reader.fieldnames or ()):
                raise ValueError(f"{path} has no column AccessionNumber")
            return list(dict.fromkeys(number for row in reader if (number := (row["AccessionNumber"] or "").strip())))
        except UnicodeDecodeError:
            raise ValueError(f"{path} is not text in UTF-8") from None
