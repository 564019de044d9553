"""The scoreboard: one row per figure, with its target. SCOREBOARD=long runs the long profile."""

from __future__ import annotations

import asyncio
import datetime
import os
import platform
import sys
from collections.abc import Callable

import aiodimse
from scoreboard import rude
from scoreboard.archive_faults import FAULTS
from scoreboard.budgets.__main__ import measure
from scoreboard.counted import ROOT, counted
from scoreboard.process import Scored, provider
from scoreboard.row import Row

LONG = os.environ.get("SCOREBOARD") == "long"
CELLS = {"defined": 123, "refused": 124}
KILLS = 50 if LONG else 5
ARCHIVE_KILLS = 20 if LONG else 2


def _percentile(values: list[float], share: float) -> float:
    return values[min(int(len(values) * share), len(values) - 1)]


async def _rude() -> list[Row]:
    rows: list[Row] = []
    async with provider() as scored:
        seconds = await rude.malformed_to_fin(scored.port, 600)
        p99 = _percentile(seconds, 0.99)
        rows.append(
            Row(
                "from a malformed byte to our A-ABORT and FIN", "p99 under 100 ms", f"p99 {p99 * 1e3:.1f} ms", p99 < 0.1
            )
        )
        seconds = await rude.echo_among_stalled(scored.port, 500, 200)
        p99 = _percentile(seconds, 0.99)
        rows.append(
            Row("a good echo with 500 stalled peers", "p99 of 200 under 100 ms", f"p99 {p99 * 1e3:.1f} ms", p99 < 0.1)
        )
    async with provider() as scored:
        number = 20000 if LONG else 4000
        await rude.rude_associations(scored.port, 2000)  # Python keeps this memory
        before = await _settled(scored)
        await rude.rude_associations(scored.port, number)
        after = await _settled(scored)
        growth = (after["memory"] - before["memory"]) / (1 << 20)
        back = after["files"] == before["files"] and after["tasks"] == before["tasks"]
        words = f"{number}: {growth:+.1f} MiB, files {after['files'] - before['files']:+g}"
        words += f", tasks {after['tasks'] - before['tasks']:+g}"
        rows.append(
            Row(
                "rude associations, memory growth",
                "20,000, under 5 MiB, files and tasks back",
                words,
                growth < 5 and back,
            )
        )
    return rows


async def _settled(scored: Scored) -> dict[str, float]:
    """Return the state of the provider when it has closed the last connections: when two answers agree."""
    last = await scored.held()
    for _ in range(100):
        await asyncio.sleep(0.1)
        now = await scored.held()
        if (now["files"], now["tasks"]) == (last["files"], last["tasks"]) and now["files"] < 30:
            return now
        last = now
    return last


def _decoders(number: int) -> Row:
    """Run mutated captures through every decoder."""
    sys.path.insert(0, str(ROOT / "tests"))
    from fuzz import decoders

    wrong = tried = 0
    for data in decoders.mutations(number, seed=2):
        tried += 1
        try:
            decoders.try_all(data)
        except Exception as error:
            wrong += 1
            print(f"{type(error).__name__} from {data.hex()}")
    words = f"{tried:,} inputs, {tried * len(decoders.DECODERS):,} decodings, {wrong} undocumented"
    return Row("decoder inputs tried", "1,000,000 in the long profile, none undocumented", words, not wrong)


def rows() -> list[Row]:
    """Return every row, in the order of the table."""
    steps = "500000" if LONG else "80000"
    profile = "deep" if LONG else "default"
    tests: list[Callable[[], Row]] = [
        lambda: counted(
            "state table cells, both roles",
            "123 of 123 defined, 124 of 124 refused",
            ["tests/association/test_machine.py", "tests/association/test_state_table.py"],
            {f"{what} as {role}": cells for what, cells in CELLS.items() for role in ("requestor", "acceptor")},
        ),
        lambda: counted(
            "random state machine steps",
            "1,000,000 in the long profile, no breach",
            ["tests/association/test_machine_walk.py"],
            {"steps": 1_000_000 if LONG else 100_000},
            AIODIMSE_WALK_STEPS=steps,
        ),
        lambda: _decoders(1_000_000 if LONG else 50_000),
        lambda: counted(
            "hostile cases, a good peer meanwhile",
            "all of 150 or more",
            ["tests/hostile"],
            {"cases": 150, "behind each byte": 1000, "good associations": 1},
        ),
        lambda: counted(
            "kill -9 during stores, restart; strace",
            "50 kills, no acknowledged instance lost, no half file",
            ["tests/durable/test_durable_kill.py", "tests/durable/test_durable_strace.py"],
            {"kills": KILLS, "instances acknowledged": 1, "stores in the order": 1},
            AIODIMSE_KILLS=str(KILLS),
        ),
        lambda: counted(
            "kill -9 of workers, PostgreSQL, the object store during four senders",
            "20 kills of each, no acknowledged instance lost, none half done",
            ["tests/durable/test_durable_archive_kill.py"],
            {f"kills of {what}": ARCHIVE_KILLS for what in ("workers", "database", "store")}
            | {"instances acknowledged": 3 * ARCHIVE_KILLS},
            AIODIMSE_KILLS=str(ARCHIVE_KILLS),
        ),
        lambda: counted(
            "stores under faults: wrong UIDs, cut off, again, two senders, releases, aborts, kill -9 of serve",
            "3,000, 0 acknowledged instances lost, 0 swapped",
            ["tests/durable/test_durable_identities.py"],
            {"stores under faults": 3000, "kills of serve": 10, "instances acknowledged": 1000},
            AIODIMSE_STORES="3000",
        ),
        lambda: counted(
            "a pool that sends while its peer, ours and storescp --fork, is killed with -9",
            "10,000 to each, 10 kills, each arrives, none reported stored that is not there",
            ["tests/durable/test_durable_pool.py"],
            {"instances sent by a pool": 20_000, "kills of the peer": 20},
            AIODIMSE_POOL="10000",
        ),
        lambda: counted(
            "cancellation at the k-th await",
            "every k, nothing left behind",
            [
                "tests/aio/test_aio_cancellation.py",
                "tests/aio/test_aio_nothing_left.py",
                "tests/pool/test_pool_cancellation.py",
                "tests/services/test_services_received_move_cancellation.py",
            ],
            {"awaits cancelled": 300},
        ),
        lambda: counted(
            "fault matrix: destination, disk, resets at each moment",
            "all cells, one final response each",
            [
                "tests/contract/test_contract_destination.py",
                "tests/contract/test_contract_requests.py",
                "tests/durable",
                "--ignore=tests/durable/test_durable_identities.py",
                "--ignore=tests/durable/test_durable_archive_faults.py",
                "--ignore=tests/durable/test_durable_archive_kill.py",
                "--ignore=tests/durable/test_durable_kill.py",
                "--ignore=tests/durable/test_durable_pool.py",
                "--ignore=tests/durable/test_durable_strace.py",
            ],
            {},
        ),
        lambda: counted(
            "PYTHONASYNCIODEBUG=1 -X dev -W error: " + ("all tests" if LONG else "leaving, cancelling, TLS"),
            "clean over the whole suite in the long profile",
            ["tests", "-n", "2"]
            if LONG
            else ["tests/aio", "tests/tls", "--deselect", "tests/aio/test_aio_state_machine.py"],
            {},
            PYTHONASYNCIODEBUG="1",
            PYTHONDEVMODE="1",
            PYTHONWARNINGS="error",
        ),
        lambda: counted(
            "random requests, cancels, releases, aborts between user and provider",
            "100,000 steps in the long profile",
            ["tests/aio/test_aio_state_machine.py"],
            {"steps": 100_000 if LONG else 1},
            HYPOTHESIS_PROFILE=profile,
        ),
        *(fault.count for fault in FAULTS),
    ]
    made: list[Row] = []
    for test in tests:
        made.append(test())
        print("  ".join(made[-1][:3]), flush=True)
    made += asyncio.run(_rude())
    made += measure(long=LONG)
    return made


def printed(table: list[Row]) -> str:
    """Return the table as Markdown, below the date and the machine."""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    lines = [f"{today}, {platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores", ""]
    lines += ["| figure | target | measured | |", "|---|---|---|---|"]
    lines += [
        f"| {figure} | {target} | {measured} | {'ok' if ok else 'FAIL'} |" for figure, target, measured, ok in table
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Print the table and write it to results/VERSION/. Return 1 if a row fails.

    It takes three minutes on a quiet machine; the long profile takes fifteen.
    """
    table = rows()
    text = printed(table)
    print(f"\n{text}", end="")
    kept = ROOT / "scoreboard" / "results" / aiodimse.__version__
    kept.mkdir(parents=True, exist_ok=True)
    (kept / ("long.md" if LONG else "short.md")).write_text(text, encoding="utf-8")
    return 0 if all(row[3] for row in table) else 1


if __name__ == "__main__":
    sys.exit(main())
