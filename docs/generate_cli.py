"""The page of the command line, from its parser. Called by docs/generate.py.

argparse writes its help in other words in other Pythons; this page is the same in all of them.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from aiodimse.cli import main


def parts() -> Iterator[str]:
    """The page, part by part."""
    top = main.parser()
    yield (
        "`aiodimse COMMAND --help` says the same; [how to use the command line](../how-to/command-line.md) has "
        "examples. `aiodimse --version` prints the version; `aiodimse --print-completion bash` (or `zsh`, `tcsh`) "
        "prints the completion for a shell, where `aiodimse[cli]` is installed."
    )
    (commands,) = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    for name, parser in commands.choices.items():
        yield f"## aiodimse {name}"
        if parser.description:
            yield _text(" ".join(parser.description.split("\n\n")[0].split()))
        rows = [
            (_name(action), _text(_help(action)), _default(action))
            for action in parser._actions
            if action.help is not argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)
        ]
        lines = ["| Argument | Meaning | Default |", "| --- | --- | --- |"]
        yield "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def _name(action: argparse.Action) -> str:
    if not action.option_strings:
        metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
        return f"`{metavar}`" + (" ..." if action.nargs in ("*", "+") else "")
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return f"`{', '.join(action.option_strings)}{value}`"


def _help(action: argparse.Action) -> str:
    values = {key: value for key, value in vars(action).items() if value is not argparse.SUPPRESS}
    return (action.help or "") % values if "%" in (action.help or "") else (action.help or "")


def _default(action: argparse.Action) -> str:
    if action.nargs == 0 or action.required or action.default in (None, argparse.SUPPRESS, [], ()):
        return ""
    return f"`{action.default}`"


def _text(words: str) -> str:
    words = re.sub(r"(?<![\w-])--?[a-z][a-z-]*", r"`\g<0>`", words)  # options are code
    for mark in ("|", "<", "*"):
        words = words.replace(mark, f"\\{mark}" if mark != "<" else "&lt;")
    return words
