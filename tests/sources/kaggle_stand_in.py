"""A server on this machine that answers kagglehub as Kaggle and its storage do."""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STORAGE = "/storage/archive"


@dataclass
class StandIn:
    """What the server hands out, how it misbehaves, and what it was asked.

    `break_at` cuts every download's connection at this byte of the archive. `checksum` replaces
    the MD5 sum that it claims. `failure` is an HTTP status for every question. `requests` collects
    method, path and the headers Authorization and Range.
    """

    archive: bytes
    checksum: str | None = None
    break_at: int | None = None
    failure: int | None = None
    requests: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    url: str = ""

    def __enter__(self):
        handler = type("Bound", (_Handler,), {"to": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def ranges(self) -> list[str]:
        """The Range headers of all downloads that went on somewhere."""
        return [asked for *_, asked in self.requests if asked]

    def md5(self) -> str:
        return self.checksum or base64.b64encode(hashlib.md5(self.archive).digest()).decode()


class _Handler(BaseHTTPRequestHandler):
    to: StandIn

    def do_POST(self):
        self._note()
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.to.failure:
            self._answer(self.to.failure, {"Content-Length": "0"})
        elif self.path.endswith("/datasets.DatasetApiService/GetDataset"):
            body = json.dumps({"id": 1, "ref": "a/b", "currentVersionNumber": 1}).encode()
            headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
            self._answer(200, headers, body)
        elif self.path.endswith("/datasets.DatasetApiService/DownloadDataset"):
            self._answer(302, {"Location": self.to.url + STORAGE, "Content-Length": "0"})
        else:
            self._answer(404, {"Content-Length": "0"})

    def do_GET(self):
        self._note()
        if self.path != STORAGE:
            self._answer(404, {"Content-Length": "0"})
            return
        headers = {
            "Content-Type": "application/zip",
            "Accept-Ranges": "bytes",
            "ETag": '"one"',
            "x-goog-hash": f"crc32c=AAAAAA==,md5={self.to.md5()}",
        }
        start, status, size = 0, 200, len(self.to.archive)
        if "Range" in self.headers:
            start, status = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")), 206
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        headers["Content-Length"] = str(size - start)
        self._answer(status, headers, self.to.archive[start : self.to.break_at])

    def _note(self):
        wanted = (self.headers.get("Authorization"), self.headers.get("Range"))
        self.to.requests.append((self.command, self.path, *wanted))

    def _answer(self, status, headers, body=b""):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        try:
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client asks for the headers first and then goes on with a Range

    def log_message(self, *_):
        pass
