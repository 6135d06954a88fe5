"""Networks that ``kit auto`` downloads, from a local server that answers as the Hugging Face Hub does."""

import json
import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import timm
from PIL import Image
from safetensors.torch import save

from kit.auto.candidates import MAX_DOWNLOADS
from kit.auto.catalog import NETWORKS
from tests.conftest import kit, write_config

SMALLEST = next(iter(NETWORKS))
COMMIT = "0123456789012345678901234567890123456789"


@contextmanager
def hub(files: dict[str, bytes]):
    """Serve the weights of these networks; others do not exist. Yields the address and the paths requested."""
    requested = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            requested.append(self.path)
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            network = self.path.split("/")[2]
            content = files.get(network)
            self.send_response(200 if content else 404)
            body = content or b""
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{network}"')
            self.send_header("X-Repo-Commit", COMMIT)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requested
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def photos(tiny):
    """The tiny competition with images that pretrained networks are tried on."""
    for path in (tiny.root / "data" / "tiny").rglob("*.png"):
        Image.open(path).resize((96, 96)).save(path)
    return tiny


def planned(workspace, endpoint, home):
    """Return the plan of ``kit auto`` and what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
    command = ["auto", str(write_config(workspace)), "--time-limit", "10m", "--dry-run", "--json"]
    process = kit(workspace, *command, env=environment)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return json.loads(out), err


@pytest.mark.slow
def test_without_weights_networks_are_downloaded_once_and_missing_ones_are_told(photos, tmp_path):
    weights = save(timm.create_model(SMALLEST, pretrained=False).state_dict())
    with hub({SMALLEST: weights}) as (endpoint, requested):
        plan, err = planned(photos, endpoint, tmp_path / "hub")
        assert requested.count(f"/timm/{SMALLEST}/resolve/main/model.safetensors") == 1
    assert list(plan["networks"]) == [SMALLEST]
    missing = [name for name in NETWORKS if name != SMALLEST and name in err]
    assert len(missing) == MAX_DOWNLOADS - 1
    photos.auto("tiny").unlink()
    plan, err = planned(photos, endpoint, tmp_path / "hub")  # the server is gone
    assert list(plan["networks"]) == [SMALLEST]
    assert "an earlier download" in err
