"""Puts site/ beside the versions that were published before: python .ci/site/publish.py FOLDER VERSION.

FOLDER is what the web server shows: a checkout of the branch of the pages. Each version has a folder of its own, as has
"latest", which the front page leads to. The theme reads its list of versions, the newest first, from versions.json.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

LATEST = "latest"
_FRONT = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>aiodimse</title>
<meta http-equiv="refresh" content="0; url={LATEST}/"></head><body><a href="{LATEST}/">aiodimse</a></body></html>
"""


def publish(site: Path, folder: Path, version: str) -> None:
    """Copy the site; a version that is there already is replaced.

    Args:
        site: What `make docs` has built.
        folder: The root of the published pages.
        version: As in "1.2.3".

    Raises:
        ValueError: It is no version of three numbers.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise ValueError(f"{version!r} is no version as 1.2.3")
    folder.mkdir(exist_ok=True)
    listed = folder / "versions.json"
    versions = {each["version"] for each in json.loads(listed.read_text("utf-8"))} if listed.exists() else set()
    newest_first = sorted(versions | {version}, key=lambda each: [int(part) for part in each.split(".")], reverse=True)
    for name in (version, LATEST) if newest_first[0] == version else (version,):
        shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(site, folder / name)
    rows = [
        {"version": each, "title": each, "aliases": [LATEST] if each == newest_first[0] else []}
        for each in newest_first
    ]
    listed.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    (folder / "index.html").write_text(_FRONT, encoding="utf-8")


if __name__ == "__main__":
    publish(Path(__file__).parents[2] / "site", Path(sys.argv[1]), sys.argv[2])
