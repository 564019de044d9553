"""The configuration of the service, a TOML file."""

from __future__ import annotations

import msgspec


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration: one field for each key of worklist.toml, which explains them."""

    database: str
    ae_title: str = "RIS"
    host: str = "0.0.0.0"
    port: int = 11112
