"""The configuration of the router, a TOML file."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cached_property

import msgspec
from pydicom import Dataset
from pydicom.multival import MultiValue

import aiodimse


class Destination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A destination: one field for each key of [destinations.AE_TITLE] in router.toml, which explains them."""

    host: str
    port: int
    associations: int = 2
    commit: bool = False
    commit_patience: float = 3600.0
    whole_studies: bool = False
    coerce: dict[str, str] = {}
    change: str | None = None

    @cached_property
    def function(self) -> Callable[[Dataset], Dataset] | None:
        """The function that changes data sets for this destination."""
        if self.change is None and not self.coerce:
            return None
        aiodimse.identifier(None, **self.coerce)  # raises for a keyword that there is not
        module, _, name = (self.change or "").partition(":")
        change = getattr(importlib.import_module(module), name) if module else lambda dataset: dataset

        def changed(dataset: Dataset) -> Dataset:
            dataset.update(aiodimse.identifier(None, **self.coerce))
            return change(dataset)  # type: ignore[no-any-return]

        return changed


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule: the destinations of images that match."""

    to: list[str]
    match: dict[str, str] = {}

    def matches(self, calling: str, header: Dataset) -> bool:
        """Return whether all patterns match; of several values, one has to."""
        return all(
            any(fnmatchcase(value, pattern) for value in ([calling] if key == "calling" else _values(header, key)))
            for key, pattern in self.match.items()
        )


class Sender(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where storage commitment is reported to: [senders.AE_TITLE] in router.toml."""

    host: str
    port: int


def _values(header: Dataset, keyword: str) -> list[str]:
    value = header.get(keyword)
    return [str(each) for each in (value if isinstance(value, MultiValue) else ["" if value is None else value])]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration: one field for each key of router.toml, which explains them."""

    folder: str
    destinations: dict[str, Destination]
    rules: list[Rule]
    senders: dict[str, Sender] = {}
    ae_title: str = "ROUTER"
    host: str = "127.0.0.1"
    port: int = 11112
    most: int = 100_000
    attempts: int = 5
    quiet: float = 60.0
    quiet_after_end: float = 5.0
    remember_days: float = 30.0

    def __post_init__(self) -> None:
        """Raise ValueError if a rule names an unknown destination."""
        if unknown := {title for rule in self.rules for title in rule.to} - self.destinations.keys():
            raise ValueError(f"a rule names unknown destinations: {', '.join(sorted(unknown))}")

    def check(self) -> None:
        """Import what changes data sets, not only with the first image. Raise ValueError for what is not there."""
        for title, destination in self.destinations.items():
            try:
                _ = destination.function
            except (AttributeError, ImportError, aiodimse.AiodimseError, ValueError) as error:
                raise ValueError(f"destinations.{title}: {error}") from None
