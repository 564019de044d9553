"""How a command prints: tables and progress bars with rich on a terminal, plain text elsewhere, JSON for programs."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from shutil import get_terminal_size
from typing import Any, TextIO

Advance = Callable[[int, int | None], None]
"""Moves a progress bar. It takes the number of things done, and the number of all things if that is known."""

_FOLDED = 24
"""The least width of the last column."""


class Output:
    """Prints the results of a command.

    Args:
        as_json: Print one JSON document on stdout and nothing else.
        events: With as_json, print one line of JSON for each event instead of a document.
        rows: Print one line of JSON for each match and nothing else.
        progress: Whether to show progress bars. Log lines would break them.
    """

    def __init__(
        self, *, as_json: bool = False, events: bool = False, rows: bool = False, progress: bool = True
    ) -> None:
        self.as_json: bool = as_json or rows
        self._events = events
        self.has_rows: bool = rows
        """Whether row() prints each match, and document() prints nothing."""
        self.so_far: Callable[[], dict[str, Any]] | None = None
        """Prints what was done before an error, and returns it as part of a document."""
        self.goes_on = False
        """Whether the command continues when nobody reads stdout any more."""
        self._progress = progress and not rows
        if isinstance(sys.stdout, io.TextIOWrapper):
            # stderr has this error handler too. A name may be in any script, and stdout may not be able to encode it.
            sys.stdout.reconfigure(errors="backslashreplace")

    def line(self, text: str = "") -> None:
        """Print a line for people on stdout."""
        if not self.as_json:
            self._print(text)

    def note(self, text: str) -> None:
        """Print a line on stderr: what went wrong, or was left out."""
        print(text, file=sys.stderr, flush=True)

    def document(self, content: dict[str, Any]) -> None:
        """Print a document for programs on stdout."""
        if self.as_json and not self.has_rows:
            self._print(_json(content, indent=2))

    def event(self, content: dict[str, Any]) -> None:
        """Print an event of a running command for programs: one line on stdout."""
        if self.as_json:
            self._print(_json(content))

    def row(self, content: dict[str, Any]) -> None:
        """Print a match for programs: one line on stdout."""
        self._print(_json(content))

    def failed(self, words: str, code: int) -> None:
        """Print what was done before an error, and for programs the error as the document or as the last event."""
        so_far, self.so_far = self.so_far, None
        content = {**(so_far() if so_far is not None else {}), "error": words, "exit_status": code}
        if self._events:
            self.event({"event": "error", **content})
        else:
            self.document(content)

    def discard(self) -> None:
        """Discard what is printed from now on, because nobody reads stdout any more."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _print(self, text: str) -> None:
        try:
            with _named_errors():
                print(text, flush=True)
        except BrokenPipeError:
            if not self.goes_on:
                raise
            self.discard()

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table for people on stdout. The last column folds; in a narrow terminal each row is a block of lines.

        Args:
            columns: The titles of the columns.
            rows: The cells, one for each column.
        """
        if self.as_json or not rows:
            return
        with _named_errors():
            self._table(columns, rows)
            sys.stdout.flush()

    def _table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
        terminal = _is_terminal(sys.stdout)
        if terminal and sum(width + 3 for width in widths[:-1]) + _FOLDED > get_terminal_size().columns:
            _blocks(columns, rows)
        elif not (terminal and _rich_table(columns, rows)):
            for row in (columns, ["-" * width for width in widths], *rows):
                cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
                print("  ".join(cells).rstrip())

    @contextmanager
    def progress(self, label: str, total: int | None = None) -> Iterator[Advance]:
        """Show a progress bar on stderr while the body runs, if stderr is a terminal."""
        if not self._progress or not _is_terminal(sys.stderr):
            yield lambda done, of: None
        elif (bar := _rich_progress()) is None:
            yield _counter(label)
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        else:
            with bar:
                task = bar.add_task(label, total=total)
                yield lambda done, of: bar.update(task, completed=done, total=of if of is not None else total)


@contextmanager
def _named_errors() -> Iterator[None]:
    """Name standard output in an error of writing to it. A pipe that nobody reads is no error of that kind."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from None


# Characters that json.dumps does not escape: DEL and the C1 controls (a terminal takes 9B for the start of a control
# sequence), and the characters that reorder text or break lines.
_ESCAPED = {
    code: f"\\u{code:04x}"
    for code in (*range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


def _json(content: dict[str, Any], indent: int | None = None) -> str:
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return json.dumps(content, ensure_ascii=encoding != "utf8", indent=indent).translate(_ESCAPED)


def _blocks(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    width = max(map(len, columns))
    for row in rows:
        for column, text in zip(columns, row, strict=True):
            print(f"{column.ljust(width)}  {text}".rstrip())
        print()


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty()


def _counter(label: str) -> Advance:
    def advance(done: int, of: int | None) -> None:
        print(f"\r{label} {done}{'' if of is None else f' of {of}'}", end="", file=sys.stderr, flush=True)

    return advance


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column != columns[-1])
    for row in rows:
        table.add_row(*map(Text, row))  # Text: what a peer sends must not be interpreted as markup
    Console(highlight=False).print(table)
    return True


def _rich_progress() -> Any:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        return None
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True),
        transient=True,
    )
