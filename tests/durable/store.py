"""A small object store that keeps its objects on the disk: python tests/durable/store.py FOLDER PORT.

moto's server keeps everything in memory, and so a kill takes with it what it has acknowledged. This one answers as much
of S3 as an archive asks: put, multipart upload, get with a range, head, list, delete. Signatures are not looked at.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_uploads = count(1)


class Handler(BaseHTTPRequestHandler):
    """One connection; the path is /BUCKET/KEY."""

    protocol_version = "HTTP/1.1"
    folder: Path

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def do_PUT(self) -> None:
        """An object, or a part of one."""
        key, query = self._asked()
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if "uploadId" in query:
            self._write(f"uploads/{query['uploadId']}/{int(query['partNumber']):06d}", data)
        else:
            self._write(f"objects/{key}", data)
        self._answer(200, ETag='"0"')

    def do_POST(self) -> None:
        """A multipart upload begins, or is complete."""
        key, query = self._asked()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "uploads" in query:
            upload = f"{os.getpid()}-{next(_uploads)}"
            self._answer(
                200, f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            )
            return
        parts = sorted((self.folder / "uploads" / query["uploadId"]).glob("[0-9]" * 6))
        if not parts:
            self._answer(404, "<Error><Code>NoSuchUpload</Code></Error>")
            return
        self._write(f"objects/{key}", b"".join(part.read_bytes() for part in parts))
        self._answer(200, '<CompleteMultipartUploadResult><ETag>"0"</ETag></CompleteMultipartUploadResult>')

    def do_DELETE(self) -> None:
        """An object, or an upload that is aborted."""
        key, query = self._asked()
        if "uploadId" not in query:
            (self.folder / "objects" / key).unlink(missing_ok=True)
        self._answer(204)

    def do_HEAD(self) -> None:
        """What an object is."""
        self.do_GET()

    def do_GET(self) -> None:
        """An object, a part of it, or the list of objects."""
        key, query = self._asked()
        if query.get("list-type") == "2":
            self._list(key.strip("/"), query.get("prefix", ""), query.get("delimiter", ""))
            return
        path = self.folder / "objects" / key
        if not path.is_file():
            self._answer(404, "<Error><Code>NoSuchKey</Code></Error>")
            return
        data, how = path.read_bytes(), {"Last-Modified": formatdate(path.stat().st_mtime, usegmt=True), "ETag": '"0"'}
        if (asked := self.headers.get("Range")) is not None:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(data)), len(data) - 1)
            self._answer(206, data[start : end + 1], **how, Content_Range=f"bytes {start}-{end}/{len(data)}")
        else:
            self._answer(200, data, **how)

    def _list(self, bucket: str, prefix: str, delimiter: str) -> None:
        root, folders = self.folder / "objects" / bucket, dict[str, None]()
        rows = ""
        for path in sorted(each for each in root.rglob("*") if each.is_file() and not each.name.endswith(".part")):
            name, status = path.relative_to(root).as_posix(), path.stat()
            rest = name.removeprefix(prefix)
            if name.startswith(prefix) and delimiter and delimiter in rest:
                folders[f"{prefix}{rest.partition(delimiter)[0]}{delimiter}"] = None
            elif name.startswith(prefix):
                time = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(
                    timespec="milliseconds"
                )  # finer than head
                rows += f"<Contents><Key>{escape(name)}</Key><Size>{status.st_size}</Size><ETag>0</ETag>"
                rows += f"<LastModified>{time[:-6]}Z</LastModified></Contents>"
        for folder in folders:
            rows += f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
        self._answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>")

    def _asked(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return unquote(parts.path).lstrip("/"), query

    def _write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.{next(_uploads)}.part")
        unfinished.write_bytes(data)
        unfinished.replace(path)

    def _answer(self, status: int, body: str | bytes = b"", **headers: str) -> None:
        content = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


if __name__ == "__main__":
    Handler.folder = Path(sys.argv[1])
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
