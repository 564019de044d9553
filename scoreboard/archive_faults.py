"""What an archive does when its process is killed, its clock is wrong, or its disk, database or index fails."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from scoreboard.counted import counted
from scoreboard.row import Row

LONG = os.environ.get("SCOREBOARD") == "long"
KILLS = 20 if LONG else 3
_PROCESSES = "tests/durable/test_durable_archive_faults.py"


@dataclass(frozen=True)
class Fault:
    """One fault of an archive."""

    figure: str
    target: str
    tests: tuple[str, ...]
    """Paths, and words for pytest."""
    least: Mapping[str, int]
    """The least sum of the numbers that the tests record under names that begin with these words."""

    def count(self) -> Row:
        """Run the tests."""
        return counted(self.figure, self.target, self.tests, self.least, AIODIMSE_KILLS=str(KILLS))


FAULTS = (
    Fault(
        "archive: kill -9 of a scan, started again; a scan that ends before any call of the index",
        "20 kills, nothing that was indexed is read again, all is indexed in the end",
        (f"{_PROCESSES}::test_a_scan_that_is_killed_goes_on_where_it_was", "tests/archive/test_archive_interrupted.py"),
        {"kills of a scan": KILLS, "calls before which a scan ended": 60},
    ),
    Fault(
        "archive: a wrong clock at the start, or one that jumps",
        "no study is removed early",
        (_PROCESSES, "tests/archive/test_archive_retention.py", "-k", "clock"),
        {"wrong clocks": 2},
    ),
    Fault(
        "archive: a disk that is not mounted any more",
        "nothing is forgotten, nothing is left where it was mounted, A700",
        (
            f"{_PROCESSES}::test_a_disk_that_goes_away_and_comes_back",
            "tests/archive/test_archive_availability.py",
            "tests/archive/test_archive_folder.py",
            "tests/archive/test_archive_interrupted.py",
            "tests/archive/test_archive_open.py",
            "tests/archive/test_archive_retention.py",
            "-k",
            "goes_away or not_mounted or moved_away",
        ),
        {"disks that went away": 2},
    ),
    Fault(
        "archive: a database that goes away, hangs, and comes back",
        "each request is refused as its service says, and served when it is back",
        ("tests/archive/test_archive_availability.py",),
        {"outages of PostgreSQL": 2},
    ),
    Fault(
        "archive: a damaged SQLite index, or one of another version",
        "a new one is made beside it, nothing is lost",
        ("tests/archive/test_archive_unusable.py",),
        {"damaged indexes": 5},
    ),
    Fault(
        "archive: a disk that becomes full, or read-only",
        "A700, what was acknowledged is kept, stores again when it can",
        (_PROCESSES, "tests/archive/test_archive_disk_full.py", "-k", "becomes or disk_full"),
        {"stores refused by a full disk": 15, "instances acknowledged": 10, "disks that became read-only": 1},
    ),
)
