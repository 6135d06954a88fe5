"""A local HTTP server that answers the package ``kaggle`` as Kaggle does, for one competition."""

from __future__ import annotations

import io
import json
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMPETITION = "tiny-leaves"
USER, KEY = "ada", "secret-key-0123456789"
NUMBER = 4711


def archive_of(folder: Path) -> bytes:
    """Return a folder as a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
    return buffer.getvalue()


@dataclass
class Kaggle:
    """What the server holds, and what it was asked.

    Attributes:
        refusals: Method -> the status and message that it answers with.
        pending: How often a submission is still pending when asked.
        uploads: What was uploaded: token -> bytes.
    """

    archive: bytes = b""
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    pending: int = 0
    public_score: str = "0.81"
    scoring_error: str = ""
    cut_uploads: bool = False
    datasets: list[str] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)
    submissions: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    authorizations: set[str] = field(default_factory=set)
    url: str = ""

    def answer(self, method: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return the status and JSON of a call."""
        self.calls.append((method, request))
        if method in self.refusals:
            status, message = self.refusals[method]
            return status, {"code": status, "message": message}
        name = re.sub(r"(?<!^)([A-Z])", r"_\1", method).lower()
        return getattr(self, name, lambda _: (404, {"code": 404, "message": "Not found"}))(request)

    def named(self, method: str) -> list[dict[str, Any]]:
        """Return the requests of one method."""
        return [request for name, request in self.calls if name == method]

    def start_submission_upload(self, request):
        return self._start()

    def start_blob_upload(self, request):
        return self._start()

    def _start(self):
        token = f"token-{len(self.uploads) + 1}"
        self.uploads[token] = b""
        return 200, {"token": token, "createUrl": f"{self.url}/upload/{token}?signature=signed-address"}

    def create_submission(self, request):
        self.submissions.append(request)
        return 200, {"message": "Successfully submitted", "ref": NUMBER}

    def list_submissions(self, request):
        listed = {"ref": NUMBER, "status": "COMPLETE", "publicScore": self.public_score, "privateScore": ""}
        if self.scoring_error:
            listed |= {"status": "ERROR", "errorDescription": self.scoring_error}
        if self.pending:
            self.pending -= 1
            listed |= {"status": "PENDING", "publicScore": ""}
        return 200, {"submissions": [listed] if self.submissions else []}

    def get_dataset_status(self, request):
        if f"{request['ownerSlug']}/{request['datasetSlug']}" in self.datasets:
            return 200, {"status": "READY"}
        return 404, {"code": 404, "message": "Not found"}

    def create_dataset(self, request):
        self.datasets.append(f"{request['ownerSlug']}/{request['slug']}")
        return 200, {"status": "ok", "ref": self.datasets[-1]}

    def create_dataset_version(self, request):
        return 200, {"status": "ok"}


@contextmanager
def serving(kaggle: Kaggle) -> Iterator[str]:
    """Serve on a free port; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kaggle.authorizations.add(self.headers.get("Authorization", ""))
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            method = self.path.rsplit("/", 1)[1]
            if method == "DownloadDataFiles" and method not in kaggle.refusals:
                kaggle.calls.append((method, json.loads(body)))
                self.send_response(302)
                self.send_header("Location", f"{kaggle.url}/files/{COMPETITION}.zip?signature=signed-address")
                self.end_headers()
                return
            status, values = kaggle.answer(method, json.loads(body or b"{}"))
            self._send(status, json.dumps(values).encode(), "application/json")

        def do_GET(self) -> None:
            self._send(200, kaggle.archive, "application/zip")

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if kaggle.cut_uploads:
                self._send(400, b"", "text/plain")
                return
            kaggle.uploads[self.path.split("/")[-1].split("?")[0]] = body
            self._send(200, b"", "text/plain")

        def _send(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        kaggle.url = f"http://127.0.0.1:{server.server_port}"
        yield kaggle.url
    finally:
        server.shutdown()
        server.server_close()
