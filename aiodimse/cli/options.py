"""The options that commands share. A wrong argument is reported in one line, with a suggestion if there is one."""

from __future__ import annotations

import argparse
import ipaddress
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

from aiodimse.association.negotiation import check_ae_title
from aiodimse.cli import failures
from aiodimse.cli.identifier import Key, key, near
from aiodimse.cli.models import FRAME, LEVELS, MODELS
from aiodimse.config import Timeouts
from aiodimse.errors import LocalProtocolError

_NO_VALUE = re.compile(r"ignored explicit argument '.*'")
_OPTION = re.compile(r"(^argument (-\w/)?)?--(?=\w)")
_LOCATION = re.compile(r"^argument LOCATION\b")
_COMMAND = re.compile(r"argument COMMAND: invalid choice: '(.*?)'")
_CHOICE = re.compile(r"(argument .*: )invalid choice: '(.*?)' \(choose from (.*)\)")


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that prints one line on stderr for a wrong argument.

    Args:
        args: See argparse.
        file: The configuration that the words come from; None: the command line. In a file a name may not be
            abbreviated, and an error names the file.
        options: See argparse.
    """

    commands: tuple[str, ...] = ()
    """The names of the commands. Only the top parser has them."""

    def __init__(self, *args: Any, file: Path | None = None, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": file is None, **options})
        self._file = file
        self.parsers: dict[str, Parser] = {}
        """The parsers of the commands. Only the top parser has them."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does. An unknown option is reported by the command that it was given to."""
        self._check_first(args or ())
        chosen, unknown = self.parse_known_args(args, namespace)
        if unknown:
            each = self.parsers.get(getattr(chosen, "command", ""), self)
            word = unknown[0].partition("=")[0]
            known = each.option_strings()
            if self._file is not None:
                known.append("--location")
            what = (
                f"no option {word}{near(word, known)}" if word.startswith("-") else f"one argument too many: {word!r}"
            )
            each.error(what)
        return chosen

    def option_strings(self) -> list[str]:
        """Return all options, such as "-v" and "--verbose"."""
        return [option for action in self._actions for option in action.option_strings]

    def _check_first(self, words: Sequence[str]) -> None:
        """Report an option of the commands that is before the command, where argparse takes its value for one."""
        word = words[0].partition("=")[0] if words else ""
        of_commands = {option for each in self.parsers.values() for option in each.option_strings()}
        if word in of_commands.difference(self.option_strings()):
            self.error(f"{word} comes after the command")

    def error(self, message: str) -> NoReturn:
        """Print the error, and exit with status 2."""
        if match := _COMMAND.match(message):
            message = f"no command {match[1]!r}{near(match[1], self.commands)}"
        elif match := _CHOICE.match(message):
            choices = re.findall(r"[^', ]+", match[3])
            message = f"{match[1]}not one of {', '.join(choices)}: {match[2]!r}{near(match[2], choices)}"
        message = _NO_VALUE.sub("takes no value; in a file it is true or false", message)
        if self._file is None:
            print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        else:
            words = _LOCATION.sub("location", _OPTION.sub("", message))
            words = words.replace("expected one argument", "needs a value")
            print(f"{self.prog}: {self._file}: {words}", file=sys.stderr)
        raise SystemExit(failures.USAGE)


class Once(argparse.Action):
    """An action that appends a value, and refuses a key or a name that was given before."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        """Append a value, or raise if its key or name was given before."""
        before = getattr(namespace, self.dest)
        name = values.name if isinstance(values, Key) else values[0]
        if any(name == (each.name if isinstance(each, Key) else each[0]) for each in before):
            raise argparse.ArgumentError(self, f"{name} is given twice")
        setattr(namespace, self.dest, [*before, values])


# --- types ------------------------------------------------------------------------------------------------------------


def port(text: str) -> int:
    """Read a TCP port to connect to."""
    return _number(text, "port", 1, 65535)


def listening_port(text: str) -> int:
    """Read a TCP port to listen on; 0 means any."""
    return _number(text, "port", 0, 65535)


def count(text: str) -> int:
    """Read a positive number."""
    return _number(text, "whole number", 1, 1 << 31)


def missing_completion(_shell: str) -> NoReturn:
    """Say what prints the completion for a shell."""
    raise argparse.ArgumentTypeError('needs shtab: pip install "aiodimse[cli]"')


_DATABASE = re.compile(r"(sqlite|postgresql)(\+\w+)?://")


def index(text: str) -> str:
    """Read where an index is: memory:, or the URL of a database, which may have a password and is not printed."""
    if text != "memory:" and not _DATABASE.match(text):
        raise argparse.ArgumentTypeError("neither sqlite:///FILE, postgresql://USER@HOST/DATABASE nor memory:")
    return text


def workers(text: str) -> int:
    """Read a number of processes. A slip of the finger must not start thousands."""
    return _number(text, "number of processes", 1, 256)


def _number(text: str, what: str, least: int, most: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() else -1
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"not a {what} ({least} to {most}): {text!r}")
    return number


def path(text: str) -> Path:
    """Read the path of a file or a folder. An empty path is refused: it often comes from a variable that is not set."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty; use . for this folder")
    return _expanded(text)


def file(text: str) -> Path:
    """Read the path of a file. An empty one is refused, and a dash, which other programs take for their own streams."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    if text == "-":
        raise argparse.ArgumentTypeError(
            "a dash is no file; /dev/stderr is standard error, and ./- a file of this name"
        )
    return _expanded(text)


def _expanded(text: str) -> Path:
    """Return the path with ~ replaced, which a shell does on the command line, and nobody else in a configuration."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"there is no such home folder: {text!r}") from None


def host(text: str) -> str:
    """Read a host name or an address. An IPv6 address may be in brackets."""
    name, colon, number = text.rpartition(":")
    if colon and number.isdigit() and (name.endswith("]") or ":" not in name):
        raise argparse.ArgumentTypeError(f"HOST and PORT are two arguments: {name} {number}")
    return text.removeprefix("[").removesuffix("]")


def listening_host(text: str) -> str:
    """Read an address to listen on. An empty one is refused: it would mean every address."""
    if not text:
        raise argparse.ArgumentTypeError("the address is empty; 0.0.0.0 means every address")
    return host(text)


def seconds(text: str) -> float:
    """Read a time in seconds."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"not a positive number of seconds: {text!r}")
    return value


def ae_title(text: str) -> str:
    """Read an AE title (PS3.5 6.2)."""
    try:
        check_ae_title(text)
    except LocalProtocolError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text.strip(" ")


class Where(NamedTuple):
    """An address to connect to."""

    host: str
    port: int
    tls: bool = False
    """Whether to connect with TLS."""


def listening_on(text: str) -> tuple[str, int]:
    """Read [HOST:]PORT to listen on. Without a host it means all addresses."""
    name, _, number = text.rpartition(":")
    return (_host(name) if name else ""), port(number)


def _host(text: str) -> str:
    """Read the host of HOST:PORT. What has a colon is an IPv6 address, in brackets or not."""
    bare = text.removeprefix("[").removesuffix("]")
    if ":" in bare:
        try:
            ipaddress.IPv6Address(bare)
        except ValueError:
            raise argparse.ArgumentTypeError(f"not a host: {text!r}") from None
    return bare


def destination(text: str) -> tuple[str, Where]:
    """Read NAME=HOST:PORT or NAME=tls:HOST:PORT. An IPv6 address may be in brackets."""
    name, equals, address = text.partition("=")
    host, colon, number = address.rpartition(":")
    if not (equals and colon and host):
        raise argparse.ArgumentTypeError(f"not NAME=HOST:PORT: {text!r}")
    bare = host.removeprefix("tls:")
    return ae_title(name), Where(_host(bare), port(number), bare != host)


SERVICES = ("store", "find", "get", "move", "commit")
"""The services that a caller may be allowed to use. C-ECHO is always allowed."""


def caller(text: str) -> tuple[str, frozenset[str]]:
    """Read NAME, which may use every service, or NAME=SERVICE,... with the services that it may use."""
    name, equals, services = text.partition("=")
    allowed = frozenset(services.split(",") if services else ()) if equals else frozenset(SERVICES)
    for each in sorted(allowed.difference(SERVICES)):
        raise argparse.ArgumentTypeError(f"not a service ({', '.join(SERVICES)}): {each!r}{near(each, SERVICES)}")
    return ae_title(name), allowed


def called(text: str) -> tuple[str, Path | None]:
    """Read NAME, or NAME=FOLDER if the title has a folder of its own."""
    name, equals, folder = text.partition("=")
    return ae_title(name), path(folder) if equals else None


_COLLECTOR = re.compile(r"(\w+):(.*):\d+")


def audit(text: str) -> Path | Where:
    """Read where the audit trail goes: a file, or tls:HOST:PORT of a collector."""
    name, colon, number = text.removeprefix("tls:").rpartition(":")
    if text.startswith("tls:"):
        if not (colon and name):
            raise argparse.ArgumentTypeError(f"not FILE or tls:HOST:PORT: {text!r}")
        return Where(_host(name), port(number), True)
    if match := _COLLECTOR.fullmatch(text):  # as in udp:HOST:514, which must not become a file of this name
        raise argparse.ArgumentTypeError(f"not FILE or tls:HOST:PORT: {text!r} begins with {match[1]}:")
    return file(text)


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def size(text: str) -> int:
    """Read a number of bytes, with K, M, G or T for powers of 1024.

    A small number without a unit is refused: who writes 500 means 500G, and has all studies but the last one removed.
    """
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    if not (number.isascii() and number.isdigit()) or unit not in _UNITS:
        raise argparse.ArgumentTypeError(f"not a number of bytes, for example 500G: {text!r}")
    if not unit and 0 < int(number) < _UNITS["M"]:
        raise argparse.ArgumentTypeError(f"{text} bytes is little; give a unit, for example {text}G")
    return int(number) * _UNITS[unit]


def most(text: str) -> int:
    """Read the number of bytes that something may have. 0 is refused: it does not mean that there is no limit."""
    if (number := size(text)) == 0:
        raise argparse.ArgumentTypeError(f"0 would remove everything; leave it out to have no limit: {text!r}")
    return number


def level(text: str) -> str:
    """Read a Query/Retrieve Level."""
    known = (*LEVELS, FRAME)
    if text.upper() not in known:
        raise argparse.ArgumentTypeError(f"not a level ({', '.join(known)}): {text!r}{near(text, known)}")
    return text.upper()


# --- groups -----------------------------------------------------------------------------------------------------------


def common(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command has."""
    group = parser.add_argument_group("common")
    group.add_argument("--json", action="store_true", help="print JSON on standard output, for programs")
    group.add_argument(
        "-v", "--verbose", action="count", default=0, help="log to standard error, without patient data; -vv logs more"
    )
    parser.set_defaults(timeout=None, trace=None, trace_data=False)


def network(parser: argparse.ArgumentParser, waits: str) -> None:
    """Add the options of a command that has associations.

    Args:
        parser: The parser of the command.
        waits: What --timeout limits: an association, and a response, each with a place for its default.
    """
    group = parser.add_argument_group("network")
    each = Timeouts()
    group.add_argument(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        help=f"how long to wait for {waits.format(each.connect, each.response)}",
    )
    group.add_argument(
        "--trace",
        type=file,
        metavar="FILE",
        help="write the conversation as text, one PDU on each line, without data sets",
    )
    group.add_argument(
        "--trace-data", action="store_true", help="let --trace write the data sets too, which hold patient data"
    )


def peer(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the peer."""
    parser.add_argument("host", metavar="HOST", type=host, help="name or address of the peer")
    parser.add_argument("port", metavar="PORT", type=port, help="its port, often 104 or 11112")
    group = parser.add_argument_group("titles")
    group.add_argument("--ae-title", type=ae_title, default="AIODIMSE", metavar="AE", help="our AE title (AIODIMSE)")
    group.add_argument(
        "--called", type=ae_title, default="ANY-SCP", metavar="AE", help="the AE title of the peer (ANY-SCP)"
    )


def transcoding(parser: argparse.ArgumentParser) -> None:
    """Add the option that turns transcoding off."""
    parser.add_argument(
        "--no-transcode", dest="transcode", action="store_false",
        help="do not decompress or recompress objects for a peer that does not accept them as they are stored"
        " (transcoding needs the extra codecs)",
    )  # fmt: skip


_KEYS = {
    "find": "an attribute, by keyword or tag: with a value it is matched, without one it is only returned",
    "get": "an attribute, by keyword or tag, and its value: what to retrieve",
    "move": "an attribute, by keyword or tag, and its value: what to retrieve",
}


def query(parser: argparse.ArgumentParser, service: Literal["find", "get", "move"]) -> None:
    """Add the options of a query. Only models that have `service` may be named."""
    group = parser.add_argument_group("query")
    names = [name for name, model in MODELS.items() if getattr(model, service) is not None]
    without = [name for name in names if not MODELS[name].levels]
    frames = "".join(f"; {FRAME} of {name}" for name in names if FRAME in MODELS[name].levels)
    group.add_argument(
        "--model", choices=names, default="study", metavar="MODEL",
        help=f"information model (study): {', '.join(names)}",
    )  # fmt: skip
    group.add_argument(
        "--level", type=level,
        help=f"{', '.join(LEVELS[:-1])} or IMAGE (STUDY, or the highest that the model has){frames}; {without[0]} and"
        " the models after it have none",
    )  # fmt: skip
    group.add_argument(
        "-k", "--key", dest="keys", type=key, action=Once, default=[], metavar="KEYWORD[=VALUE]",
        help=f"{_KEYS[service]}; repeatable; Sequence.Keyword names an attribute inside a sequence",
    )  # fmt: skip


def timeouts(options: argparse.Namespace) -> Timeouts:
    """Return the deadlines that --timeout asks for."""
    if options.timeout is None:
        return Timeouts()
    each: float = options.timeout
    drain = Timeouts().cancel_drain or each  # a peer that does not answer does not answer a C-CANCEL either
    return Timeouts(connect=each, response=each, move_response=each, cancel_drain=min(each, drain))
