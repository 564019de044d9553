"""The configuration of the gateway, a TOML file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Config:
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
