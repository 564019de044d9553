"""A hospital's authority, a stranger's, and certificates of both; for tests/interop too."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import trustme

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Certificates:
    """PEM files: .ca vouches for all but .stranger, which .other_ca vouches for. Keys lie beside, NAME.key."""

    folder: Path

    def __getattr__(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def pair(self, name: str) -> dict[str, Path]:
        """For server_context and client_context."""
        return {"certificate": self.folder / f"{name}.pem", "key": self.key(name)}


def _write(folder: Path, name: str, certificate: trustme.LeafCert) -> None:
    (folder / f"{name}.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    (folder / f"{name}.key").write_bytes(certificate.private_key_pem.bytes())


def make(folder: Path) -> Certificates:
    """RSA keys, because DCMTK 3.6.7 takes no other by default."""
    now = datetime.datetime.now(datetime.UTC)
    rsa = trustme.KeyType.RSA
    ours, other = trustme.CA(key_type=rsa), trustme.CA(key_type=rsa)
    ours.cert_pem.write_to_path(folder / "ca.pem")
    other.cert_pem.write_to_path(folder / "other_ca.pem")
    _write(folder, "server", ours.issue_cert("localhost", "127.0.0.1", key_type=rsa))
    _write(folder, "ct1", ours.issue_cert("ct1.hospital.example", common_name="CT One", key_type=rsa))
    _write(folder, "mr1", ours.issue_cert("mr1.hospital.example", key_type=rsa))
    past = {"not_before": now - 3 * DAY, "not_after": now - DAY}
    _write(folder, "expired", ours.issue_cert("localhost", "127.0.0.1", key_type=rsa, **past))
    _write(folder, "elsewhere", ours.issue_cert("elsewhere.example", key_type=rsa))
    _write(folder, "stranger", other.issue_cert("localhost", "127.0.0.1", key_type=rsa))
    return Certificates(folder)
