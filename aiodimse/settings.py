"""The settings of a service: a TOML file that is read into a dataclass.

Example:
    ```python
    @dataclass(frozen=True, kw_only=True)
    class Settings:
        archive_host: str
        archive_port: int = 11112
        destinations: dict[str, aiodimse.Destination] = field(default_factory=dict)


    settings = from_toml(Settings, "service.toml")
    ```
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = ["from_toml"]

T = TypeVar("T")

_WORDS: dict[type, str] = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "text", list: "a list",
    dict: "a table",
}  # fmt: skip
"""What a value of a type is called."""


def from_toml(kind: type[T], path: str | Path) -> T:
    """Read a TOML file into a dataclass, whose fields are the keys of the file.

    Fields are `str`, `int`, `float`, `bool`, `Path`, other dataclasses, which are tables, `list[...]` and
    `dict[str, ...]` of these, and any of these `| None`. A file cannot set fields of other types. Values are not
    converted, except that a `float` may be written without a point.

    Args:
        kind: The dataclass.
        path: The file, in UTF-8.

    Returns:
        The dataclass. Fields whose keys are not in the file have their defaults.

    Raises:
        ValueError: The file cannot be read or is not TOML, a key is unknown or missing, a value has the wrong type, or
            a dataclass refuses its values with a ValueError. The text begins with the path and names the key. It does
            not repeat a value of the wrong type, which may be a password.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))  # editors of Windows write a byte order mark
        return _dataclass(kind, table, "")  # type: ignore[no-any-return]
    except OSError as error:
        raise ValueError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError:
        raise ValueError(f"{path}: this is not text in UTF-8") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _dataclass(kind: Any, table: Mapping[str, Any], place: str) -> Any:
    """Make a dataclass of a table. `place` is the key of the table, and empty for the whole file."""
    hints = get_type_hints(kind)
    keys = {field.name: reader for field in fields(kind) if field.init and (reader := _reader(hints[field.name]))}
    for key in table:
        if key not in keys:
            whose = f" of {place}" if place else ""
            raise ValueError(f"there is no key {_joined(place, key)}; the keys{whose} are {', '.join(keys)}")
    values = {key: keys[key](value, _joined(place, key)) for key, value in table.items()}
    if missing := [_joined(place, each.name) for each in fields(kind) if _is_required(each) and each.name not in table]:
        raise ValueError(f"missing: {', '.join(missing)}")
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{place}: {error}" if place else f"{error}") from None


def _is_required(field: Field[Any]) -> bool:
    return field.init and field.default is MISSING and field.default_factory is MISSING


def _joined(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _reader(hint: Any) -> Callable[[Any, str], Any] | None:
    """Return a function that checks a value of this type and converts it; None: TOML has no such value."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        some = [each for each in arguments if each is not NoneType]
        return _reader(some[0]) if len(some) == 1 else None
    if is_dataclass(hint):
        return lambda value, place: _dataclass(hint, _checked(value, dict, place), place)
    if origin in (list, dict):
        return _of_many(origin, _reader(arguments[-1]))
    if hint is Path:
        return lambda value, place: Path(_checked(value, str, place))
    return (lambda value, place: _checked(value, hint, place)) if hint in _WORDS else None


def _of_many(kind: type, read: Callable[[Any, str], Any] | None) -> Callable[[Any, str], Any] | None:
    """Return a function that reads each item of a list or of a table."""
    if read is None:
        return None
    if kind is list:
        return lambda value, place: [read(each, place) for each in _checked(value, list, place)]
    return lambda value, place: {
        key: read(each, _joined(place, key)) for key, each in _checked(value, dict, place).items()
    }


def _checked(value: Any, kind: type, place: str) -> Any:
    if type(value) is kind or (kind is float and type(value) is int):
        return value
    raise ValueError(f"{place} takes {_WORDS[kind]}")
