"""Where the time of one row goes: `python -m benchmarks.profiling echo` samples the side that is ours.

It prints the lines that were running (self) and the functions that called them (total), in percent of the processor
time of our process, and how busy that process was. If it was far below 100 %, the other side limits the row.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.bench import Bench, commanded
from benchmarks.material import STUDY_OF_CT
from benchmarks.measure import Contender
from benchmarks.processes import HOST, NODELAY, Worker, need, raise_open_files, run

Prepared = tuple[Worker, Contender]


def _stores(name: str, count: int, store: str = "stream") -> Callable[[Bench], Prepared]:
    def prepare(bench: Bench) -> Prepared:
        ours = bench.ours(store=store, folder=bench.new_folder("saved"))
        return ours, bench.storescu(ours, bench.material.copies(name, count), count)

    return prepare


def _echo(bench: Bench) -> Prepared:
    ours = bench.ours()
    return ours, bench.echoscu(ours, 20_000)


def _echo_user(bench: Bench) -> Prepared:
    user, provider = bench.worker("ours_user"), bench.storescp()
    return user, commanded(user, "echo", 20_000, port=provider.port, times=20_000)


def _window(bench: Bench) -> Prepared:
    user, provider = bench.worker("ours_user"), bench.ours()
    return user, commanded(user, "echo", 20_000, port=provider.port, times=20_000, window=16)


def _large(bench: Bench) -> Prepared:
    ours = bench.ours()
    return ours, bench.storescu(ours, bench.material.large(), 1, "--repeat", "4")


def _large_user(bench: Bench) -> Prepared:
    user, provider = bench.worker("ours_user"), bench.ours()
    return user, commanded(user, "store", 1, port=provider.port, folder=bench.material.large())


def _large_pair(bench: Bench) -> Prepared:
    user, provider = bench.worker("ours_user"), bench.ours()
    return provider, commanded(user, "store", 1, port=provider.port, folder=bench.material.large())


def _send(bench: Bench) -> Prepared:
    user, provider = bench.worker("ours_user"), bench.storescp("--ignore")
    return user, commanded(user, "store", 1_000, port=provider.port, folder=bench.material.copies("CT_small", 1_000))


def _find(bench: Bench) -> Prepared:
    user, provider = bench.worker("ours_user"), bench.ours(find=10_000)
    return provider, commanded(user, "find", 10_000, port=provider.port)


def _find_user(bench: Bench) -> Prepared:
    user, provider = bench.worker("ours_user"), bench.ours(find=10_000)
    return user, commanded(user, "find", 10_000, port=provider.port)


def _retrieve(program: str, *words: str) -> Callable[[Bench], Prepared]:
    def prepare(bench: Bench) -> Prepared:
        destination = bench.storescp("+B")
        files = bench.material.copies("CT_small", 1_000)
        ours = bench.ours(files=files, destination=destination.port)
        target = bench.new_folder("got")
        more = ["+B", "-od", str(target)] if program == "getscu" else list(words)
        command = [
            need(program), "-S", "-aec", "AIODIMSE", *more, "-k", "QueryRetrieveLevel=STUDY",
            "-k", f"StudyInstanceUID={STUDY_OF_CT}", HOST, str(ours.port),
        ]  # fmt: skip
        return ours, lambda: run(command, done=1_000, env=NODELAY)[0]

    return prepare


def _many(bench: Bench) -> Prepared:
    from benchmarks.works.many import _crowd

    ours = bench.ours()
    return ours, _crowd(bench.worker("load"), ours, 100, 100)


def _begin(bench: Bench) -> Prepared:
    from benchmarks.works.many import _crowd

    ours = bench.ours()
    return ours, _crowd(bench.worker("load"), ours, 500, 1)


CASES: dict[str, Callable[[Bench], Prepared]] = {
    "echo": _echo,
    "echo-user": _echo_user,
    "echo-window": _window,
    "store-mr": _stores("MR_small", 3_000),
    "store-ct": _stores("CT_small", 2_000),
    "save-ct": _stores("CT_small", 1_000, "save"),
    "save-ct-fsync": _stores("CT_small", 1_000, "durable"),
    "send-ct": _send,
    "large": _large,
    "large-pair": _large_pair,
    "large-pair-user": _large_user,
    "find": _find,
    "find-user": _find_user,
    "get": _retrieve("getscu"),
    "move": _retrieve("movescu", "-aem", "DEST"),
    "many-100": _many,
    "accept-rate": _begin,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiling", description=__doc__)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--lines", type=int, default=25)
    parser.add_argument("--times", type=int, default=3, help="how often the work is done")
    options = parser.parse_args()
    raise_open_files()
    with (
        tempfile.TemporaryDirectory(prefix="aiodimse-bench-") as folder,
        Bench(Path(folder), pairs=1, quick=False) as b,
    ):
        ours, go = CASES[options.case](b)
        if problem := go().problem:
            raise SystemExit(problem)
        ours.ask("sample")
        cpu, started = ours.cpu_seconds, time.perf_counter()
        trials = [go() for _ in range(options.times)]
        wall, cpu = time.perf_counter() - started, ours.cpu_seconds - cpu
        said = ours.ask("samples")
    done = sum(trial.done for trial in trials)
    print(f"{options.case}: {done} in {wall:.2f} s; {ours.name} was busy {cpu / wall:.0%} of it", end="")
    print(f", {cpu / done * 1e6:,.1f} us each; {said['samples']} samples")
    for title in ("self", "total"):
        print(f"\n  {title}")
        for name, share in said[title][: options.lines]:
            print(f"  {share:6.1%}  {name}")


if __name__ == "__main__":
    main()
