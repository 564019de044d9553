"""--config FILE.toml: the options of a command, in a file. Options on the command line win.

The keys are the long options without their dashes. An option that may be repeated takes a list, a switch takes true,
and an option that takes pairs is a table:

    location = "/data/dicom"
    ae-title = "ARCHIVE"
    strict = true

    [destination]
    VIEWER = "192.0.2.7:11112"

    [calling]
    CT1 = ["store", "commit"]
    VIEWER = true

    [called]
    RESEARCH = "/data/research"
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aiodimse.cli.failures import USAGE, CommandError, system_words

_POSITIONAL = "location"
_NOT_IN_A_FILE = ("config", "help", "inherited")
"""Options that have no meaning in a file."""
TEXTS = ("ae-title", "audit", "duplicates", "host", "index", "tls-ca", "tls-cert", "tls-key", "trace")
"""Options whose value is text. A number there is a mistake, although it would do as a word of the command line."""
SWITCHES = (
    "any-called", "json", "no-transcode", "strict", "tls-no-client-cert", "tls-no-hostname", "trace-data", "verbose",
)  # fmt: skip
"""Options without a value. false leaves them out."""
REPEATABLE = ("called", "calling", "destination", "tls-title")
"""Options that may be a table, or a list of its rows as on the command line."""
_LIMITING = ("calling", "tls-title")
"""Options that limit nobody if they have no row. An operator who removes the last row does not mean that."""


def words(file: Path, *, location: bool = True) -> list[str]:
    """Return the words of the command line that a file stands for.

    Each option has its value in the same word, so that a value that is missing is not looked for in the next one.

    Args:
        file: The file.
        location: Whether to return the location, which comes first. Without it, the command line has another one.

    Raises:
        CommandError: The file cannot be read, or is not TOML of this form.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))  # editors of Windows write a byte order mark
    except OSError as error:
        raise CommandError(f"--config: {system_words(error)}", USAGE) from None
    except UnicodeDecodeError:
        raise CommandError(f"--config: {file}: this is not text in UTF-8", USAGE) from None
    except tomllib.TOMLDecodeError as error:
        raise CommandError(f"--config: {file}: {error}", USAGE) from None
    given = content.pop(_POSITIONAL, None)
    if not isinstance(given, str | None):
        raise CommandError(f"--config: {file}: {_POSITIONAL} is not text", USAGE)
    _check_names(str(file), content)
    found = [word for name, value in content.items() for word in _option(str(file), name, value)]
    return [*([given] if location and given is not None else []), *found]


def _check_names(file: str, content: Mapping[str, Any]) -> None:
    """Refuse an option that is there twice, as tls_cert and tls-cert: the second one would win."""
    before: dict[str, str] = {}
    for name in content:
        first = before.setdefault(name.replace("_", "-"), name)
        if first != name:
            raise CommandError(f"--config: {file}: {first} and {name} are the same option; remove one", USAGE)


def _option(file: str, name: str, value: Any) -> Iterator[str]:
    named = name.replace("_", "-")
    option = f"--{named}"
    if name in _NOT_IN_A_FILE or not name:
        raise CommandError(f"--config: {file}: no option {name or repr(name)} in a file", USAGE)
    if named in _LIMITING and not value:
        raise CommandError(f"--config: {file}: {name} is empty, which would let everybody in; remove it", USAGE)
    if named in TEXTS + REPEATABLE and isinstance(value, (bool, int, float)):
        raise CommandError(f"--config: {file}: {name} takes text, not {str(value).lower()}; use quotes", USAGE)
    if value is True:
        yield option
    elif value is False and named in SWITCHES:
        return
    elif value is False:
        yield f"{option}=false"  # which no other option takes, so that its type, or the lack of the option, is reported
    elif isinstance(value, (str, int, float)):
        yield f"{option}={value}"
    elif isinstance(value, (list, Mapping)):
        yield from (f"{option}={row}" for row in _rows(file, named, value))
    else:
        raise CommandError(f"--config: {file}: {name} is neither text, number, switch, list nor table", USAGE)


def _rows(file: str, name: str, value: list[Any] | Mapping[str, Any]) -> Iterator[str]:
    """Format each row of a table or a list as the value of an option on the command line."""
    if isinstance(value, list) and name not in REPEATABLE:
        raise CommandError(f"--config: {file}: {name} takes one value, not a list", USAGE)
    if isinstance(value, Mapping):
        yield from (_pair(file, name, key, each) for key, each in value.items())
        return
    for each in value:
        if not isinstance(each, str):
            raise CommandError(f"--config: {file}: {name}: not text: {each}", USAGE)
        yield each


def _pair(file: str, name: str, key: str, value: Any) -> str:
    """Format one row of a table. true stands for the key alone, a list for its values with commas between them."""
    if value is True:
        return key
    if value is False:
        raise CommandError(f"--config: {file}: {name}: {key} = false means nothing; remove the line", USAGE)
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in values):
        raise CommandError(f"--config: {file}: {name}: the value of {key} is not text", USAGE)
    return f"{key}={','.join(values)}"
