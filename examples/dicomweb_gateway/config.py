"""The configuration of the gateway, a TOML file."""

from __future__ import annotations

import msgspec


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration: one field for each key of gateway.toml, which explains them."""

    archive_host: str
    archive_port: int
    archive_ae_title: str
    ae_title: str = "GATEWAY"
    host: str = "127.0.0.1"
    port: int = 8080
    associations: int = 4
    client_timeout: float = 60.0
    move_port: int | None = None
    viewer: str | None = None
