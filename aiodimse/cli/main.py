"""The parser of the command line, and the only place where an error becomes a line and an exit status."""

from __future__ import annotations

import argparse
import asyncio
import io
import logging
import signal
import sys
import warnings
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import aiodimse
from aiodimse.cli import (
    check,
    configuration,
    conformance,
    echo,
    encryption,
    explain,
    failures,
    find,
    get,
    move,
    options,
    serve,
    signals,
    store,
)
from aiodimse.cli.ending import Ending
from aiodimse.cli.output import Output
from aiodimse.cli.reloading import in_force
from aiodimse.cli.sharing import Configuration, Worker
from aiodimse.cli.trace import TraceFile

COMMANDS: dict[str, ModuleType] = {
    "echo": echo,
    "store": store,
    "find": find,
    "get": get,
    "move": move,
    "serve": serve,
    "check": check,
    "explain": explain,
    "conformance": conformance,
}

_TO_END = 10.0
"""Seconds that a command may take to end after SIGTERM; serve, which drains, has its own."""

_EPILOG = """\
exit status: 0 if the final status is Success; 1 if it is not, or there was no association; 2 for wrong arguments;
130 after Ctrl-C; 143 after SIGTERM, but 0 for serve

In the help of a command, a value in parentheses is the default.

  aiodimse echo 192.0.2.7 11112 --called PACS
  aiodimse find 192.0.2.7 11112 --called PACS -k PatientName='DOE*' -k StudyDate=20240101-
  aiodimse serve ~/dicom --ae-title ARCHIVE"""


def parser(file: Path | None = None) -> argparse.ArgumentParser:
    """Make the parser of all commands.

    Args:
        file: The configuration that the words come from; None: the command line.
    """
    top = options.Parser(
        prog="aiodimse",
        file=file,
        description="DICOM on the command line.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.commands = tuple(COMMANDS)
    top.add_argument("--version", action="version", version=f"aiodimse {aiodimse.__version__}")
    completion, what = "--print-completion", "print the completion for a shell, and end"
    if find_spec("shtab") is not None:  # part of the extra cli
        import_module("shtab").add_argument_to(top, completion, help=what)
    else:
        top.add_argument(completion, type=options.missing_completion, metavar="SHELL", help=what)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=options.Parser)
    for name, module in COMMANDS.items():
        each = commands.add_parser(name, help=module.HELP, description=module.__doc__, file=file)
        top.parsers[name] = each
        module.arguments(each)
        options.common(each)
        each.set_defaults(module=module, prog=each.prog)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit status. Wrong arguments raise SystemExit, as in argparse.

    SIGTERM is ignored once the command has ended, since it could only change the exit status. A process of its own,
    which is called without words, is ended by force where it hangs after SIGTERM.
    """
    prog, output = "aiodimse", Output()
    given: dict[str, object] = {}
    try:
        words = list(sys.argv[1:] if argv is None else argv)
        prog = f"aiodimse {words[0]}" if words and words[0] in COMMANDS else prog
        chosen = _parsed(words)
        chosen.read_again = partial(_parsed_again, words)
        chosen.ending = Ending(chosen.prog)
        given = vars(chosen)
        prog, output = (
            chosen.prog,
            Output(
                as_json=chosen.json,
                events=chosen.command == "serve",
                rows=getattr(chosen, "json_lines", False),
                # Only a worker prints JSON for its parent, and a progress bar for people.
                progress=not chosen.verbose and (not chosen.json or getattr(chosen, "worker", None) is not None),
            ),
        )
        with _tracing(chosen), _logging(chosen), warnings.catch_warnings():
            # pydicom warns about values and quotes them. They are patient data.
            warnings.simplefilter("ignore")
            try:
                return _run_until_complete(_run(chosen, output))
            finally:
                if argv is not None:
                    chosen.ending.disarm()
    except KeyboardInterrupt:
        line, code = "interrupted", failures.INTERRUPTED
    except BrokenPipeError:  # for example of `aiodimse find ... | head`
        output.discard()
        return failures.FAILED
    except failures.CommandError as error:
        line, code = str(error), error.code
    except (aiodimse.AiodimseError, OSError) as error:
        line, code = failures.in_words(error, given), failures.FAILED
    try:
        output.failed(line, code)
    except OSError:  # nobody reads stdout, or it is a file on a full disk; the line on stderr still says what failed
        output.discard()
    # A worker that its parent ends before it serves has nothing to tell: the parent says how the service ended.
    if code != failures.TERMINATED or given.get("worker") is None:
        output.note(f"{prog}: {line}")
    return code


def _run_until_complete(command: Coroutine[Any, Any, int]) -> int:
    """Run a command in an event loop of its own. A second Ctrl-C ends the process, also while the loop closes."""
    with asyncio.Runner() as runner:
        try:
            return runner.run(command)
        except KeyboardInterrupt:
            signals.leave_on_ctrl_c(failures.INTERRUPTED)
            raise


def _parsed(words: list[str]) -> argparse.Namespace:
    """Parse the command line, together with the file of serve that --config names. What the command line has wins."""
    chosen: argparse.Namespace = parser().parse_args(words)
    if getattr(chosen, "worker", None) is not None:
        return _of_parent(chosen.worker)
    configured, file = None, getattr(chosen, "config", None)
    if file is not None:
        configured = parser(file).parse_args(["serve", *configuration.words(file)])  # reports what is wrong in the file
    if file is not None and chosen.command == "serve":
        of_file = configuration.words(file, location=chosen.directory is None)
        words = [words[0], *of_file, *words[1:]]
        chosen = parser().parse_args(words)
    chosen.words, chosen.configured = words, configured
    return chosen


def _of_parent(worker: Worker) -> argparse.Namespace:
    """Return the options of a worker: those that are in force in its parent."""
    version, started, read = Configuration(worker.configuration).read()
    chosen = in_force(parser().parse_args(started), parser().parse_args(read))
    chosen.version, chosen.configured = version, None
    chosen.worker, chosen.workers, chosen.json = worker, 1, True
    return chosen


def _parsed_again(words: list[str]) -> argparse.Namespace:
    """Parse the same words again. A mistake must not end the process, so it raises CommandError."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return _parsed(words)
    except SystemExit:
        why = said.getvalue().strip().removeprefix(f"aiodimse {words[0]}: ")
        raise failures.CommandError(why, failures.USAGE) from None


async def _run(chosen: argparse.Namespace, output: Output) -> int:
    """Run a command. SIGTERM cancels it, so its association is aborted and its unfinished files are removed."""
    task, is_terminated = asyncio.current_task(), False
    assert task is not None

    def terminate(number: int) -> None:
        nonlocal is_terminated
        if not is_terminated:
            is_terminated = True
            chosen.ending.within(_TO_END, failures.TERMINATED)
            task.cancel()

    if "tls" in chosen:  # a wrong option is reported before thousands of files are read, or a folder is made
        chosen.ssl = encryption.connecting(chosen)
    try:
        # Afterward the result is known, and SIGTERM changes nothing.
        with signals.handled(terminate, signal.SIGTERM, afterward=signal.SIG_IGN):
            code: int = await chosen.module.run(chosen, output)
    except asyncio.CancelledError:
        if not is_terminated:
            raise
        raise failures.CommandError("terminated", failures.TERMINATED) from None
    return code


@contextmanager
def _tracing(chosen: argparse.Namespace) -> Iterator[None]:
    if chosen.trace_data and chosen.trace is None:
        raise failures.CommandError("--trace-data has no effect without --trace", failures.USAGE)
    if chosen.trace is None:
        chosen.tracing = None
        yield
        return
    try:
        trace = chosen.tracing = TraceFile(chosen.trace, data=chosen.trace_data)
    except OSError as error:
        raise failures.CommandError(f"--trace: {failures.system_words(error)}", failures.USAGE) from None
    try:
        yield
    finally:
        trace.close()


@contextmanager
def _logging(chosen: argparse.Namespace) -> Iterator[None]:
    """Log to stderr at the level of -v. Without -v a user command logs nothing: its last line says what failed."""
    quiet = logging.WARNING if chosen.command == "serve" else logging.CRITICAL
    level = (quiet, logging.INFO, logging.DEBUG)[min(chosen.verbose, 2)]
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("aiodimse")
    before, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        logger.propagate = propagate
