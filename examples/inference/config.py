"""The configuration of the service, a TOML file."""

from __future__ import annotations

import msgspec


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration: one field for each key of inference.toml, which explains them."""

    archive_host: str
    archive_port: int
    archive_ae_title: str
    spool: str
    ae_title: str = "AI"
    host: str = "0.0.0.0"
    port: int = 11112
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    quiet: float = 60.0
    quiet_after_end: float = 5.0
    processes: int = 2
    most_waiting: int = 100
    pause: float = 5.0
    drain: float = 60.0
    keep_hours: float = 24.0
