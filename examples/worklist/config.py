"""The configuration of the service, a TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Config:
    """The configuration: one field for each key of worklist.toml, which explains them."""

    database: str
    ae_title: str = "RIS"
    host: str = "0.0.0.0"
    port: int = 11112

    @classmethod
    def load(cls, path: str) -> Config:
        """Read the file. Raise TypeError for a key that is unknown or missing."""
        return cls(**tomllib.loads(Path(path).read_text("utf-8")))
