"""Metadata of the package that depends on where the repository lives: the project's addresses, and README's links.

`make package` takes the address from the environment variable AIODIMSE_REPOSITORY, which the release workflow sets to
the repository that it runs in. So no address is written down in the sources, and a fork publishes its own. Without the
variable the package has no addresses, and README's links into the repository become the plain names of their files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hatchling.metadata.plugin.interface import MetadataHookInterface

VARIABLE = "AIODIMSE_REPOSITORY"
# [text](path) where the path is neither an address nor a place on the same page
LINK = re.compile(r"\[([^\]]+)\]\((?![a-z]+:|#)([^)]+)\)")


class AddressHook(MetadataHookInterface):
    """What hatchling calls while it builds the wheel, the sdist or an editable installation."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in the fields `urls` and `readme`, which pyproject.toml lists as dynamic.

        Args:
            metadata: The table `project`, which is changed.
        """
        address = repository(os.environ.get(VARIABLE, ""))
        metadata["urls"] = project_urls(address)
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": with_absolute_links(text, address)}


def repository(address: str) -> str:
    """The address without a slash or ".git" at its end.

    Raises:
        ValueError: It is neither empty nor an https address.
    """
    if not address:
        return ""
    parts = urlsplit(address)
    if parts.scheme != "https" or not parts.netloc or parts.path in ("", "/"):
        raise ValueError(f"{VARIABLE} must be the https address of a repository, and is {address!r}")
    return address.rstrip("/").removesuffix(".git")


def project_urls(address: str) -> dict[str, str]:
    """The entries of `project.urls`, none without an address. The release workflow publishes the documentation."""
    if not address:
        return {}
    parts = urlsplit(address)
    urls = {
        "Source": address,
        "Changelog": f"{address}/blob/HEAD/CHANGELOG.md",
        "Issues": f"{address}/issues",
        "Security": f"{address}/blob/HEAD/SECURITY.md",
    }
    owner, _, name = parts.path.strip("/").partition("/")
    if parts.netloc == "github.com" and name:
        urls["Documentation"] = f"https://{owner.lower()}.github.io/{name}/"
    return urls


def with_absolute_links(text: str, address: str) -> str:
    """README as a package index shows it: it cannot follow a link into the repository."""

    def absolute(link: re.Match[str]) -> str:
        shown, path = link.groups()
        if address:
            return f"[{shown}]({address}/blob/HEAD/{path})"
        return shown if path in shown else f"{shown} (`{path}`)"

    return LINK.sub(absolute, text)
