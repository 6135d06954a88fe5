"""Start the server of the web app, which only this machine can reach."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from kit.errors import KitError
from kit.runtime.extras import require_extra
from kit.storage.workspace import Workspace

ADDRESS = "127.0.0.1"
WORKSPACE, DATA_ROOT = "KIT_APP_WORKSPACE", "KIT_APP_DATA_ROOT"  # variables that the pages read
MAX_UPLOAD_MB = 200
SETTINGS = {
    "server.address": ADDRESS,
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.maxUploadSize": str(MAX_UPLOAD_MB),
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",
}


def serve(workspace: Workspace, port: int) -> int:
    """Serve the app until Ctrl-C; return the exit status of the server.

    Raises:
        KitError: Streamlit is missing, or another program uses the port.
    """
    require_extra("kit app", "kit[app]", "streamlit", why="Streamlit draws the pages of the app")
    _check_port(port)
    main = Path(__file__).with_name("main.py")
    settings = [f"--{key}={value}" for key, value in {**SETTINGS, "server.port": str(port)}.items()]
    command = [sys.executable, "-m", "streamlit", "run", str(main), *settings]
    return subprocess.run(command, env=os.environ | environment(workspace), check=False).returncode


def environment(workspace: Workspace) -> dict[str, str]:
    """Return the variables that tell the pages their workspace."""
    given = workspace.data_roots[0]
    return {WORKSPACE: str(workspace.root), DATA_ROOT: str(given) if given.is_dir() else ""}


def _check_port(port: int) -> None:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((ADDRESS, port))
        except (OSError, OverflowError) as error:
            raise KitError(
                f"--port {port}",
                f"cannot be used ({error})",
                "A port is a number from 1024 to 65535 that no other program uses",
                f"Try `kit app --port {port + 1 if 1023 < port < 65535 else 8501}`.",
                code="port_unusable",
            ) from error
