"""The configuration of the pull, a TOML file."""

from __future__ import annotations

import msgspec


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration: one field for each key of pull.toml, which explains them."""

    archive_host: str
    archive_port: int
    archive_ae_title: str
    accession_numbers: str
    folder: str
    ae_title: str = "RESEARCH"
    host: str = "0.0.0.0"
    port: int = 11113
    moves: int = 4
    moves_per_minute: float = 0.0
    attempts: int = 5
    pause: float = 2.0
    silence: float = 600.0
