"""The configuration of the service, a TOML file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Config:
    """The configuration: one field for each key of worklist.toml, which explains them."""

    database: str
    ae_title: str = "RIS"
    host: str = "0.0.0.0"
    port: int = 11112
