"""The web app in a real browser: every page, an upload, a corrected label, a checked submission.

Needs Chromium and the package playwright: ``make test-app``.
"""

import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager

import pandas as pd
import pytest

from kit.app.main import PAGES
from tests.app.test_pages import multilabel, png
from tests.conftest import wait_for

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: make test-app")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]


def free_port():
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


def answers(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def served(workspace):
    """Serve the app of a workspace; yield its address."""
    port = free_port()
    command = [sys.executable, "-m", "kit", "app", "--port", str(port), "--workspace", str(workspace.root)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        wait_for(lambda: answers(port), 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def visit(browser):
    """Return a function that opens a page, waits until it is drawn, and checks that all of it is local."""
    tab = browser.new_page(viewport={"width": 1280, "height": 1400})
    foreign = []
    tab.on("request", lambda request: foreign.append(request.url) if is_foreign(request.url) else None)

    def visit(address, page):
        tab.goto(address if page == "Start" else f"{address}/{page.lower()}")
        tab.wait_for_selector(f"h2:has-text('{page}')")
        drawn(tab)
        return tab

    yield visit
    assert foreign == []
    tab.close()


def is_foreign(url):
    return not url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:"))


def drawn(tab):
    """Wait until the script of the page has ended."""
    tab.wait_for_function("!document.querySelector('[data-testid=stStatusWidget]')")
    assert tab.locator("[data-testid=stException]").count() == 0


def test_every_page_opens_on_single_and_several_labels(visit, trained, tmp_path):
    for workspace in (trained, multilabel(tmp_path)):
        with served(workspace) as address:
            for page in PAGES:
                tab = visit(address, page)
                assert tab.locator("[data-testid=stAlertContentError]").count() == 0, page
                tab.screenshot(path=tmp_path / f"{workspace.root.name}-{page}.png")


def test_a_label_is_corrected(visit, trained_copy):
    with served(trained_copy) as address:
        tab = visit(address, "Mistakes")
        box = tab.locator("[data-testid=stSelectbox]").nth(3)
        box.click()
        tab.get_by_role("option", name="red", exact=True).click()
        wait_for(trained_copy.corrections("tiny").exists, 30)
    assert list(pd.read_csv(trained_copy.corrections("tiny"))["label"]) == ["red"]


def test_an_image_is_predicted_and_a_submission_is_checked(visit, trained):
    with served(trained) as address:
        tab = visit(address, "Predict")
        image = {"name": "a.png", "mimeType": "image/png", "buffer": png()}
        tab.locator("input[type=file]").set_input_files(image)
        tab.get_by_role("button", name="Predict", exact=True).click()
        tab.get_by_role("button", name="Download the predictions").wait_for(timeout=60_000)
        tab = visit(address, "Submit")
        tab.locator("input[type=file]").set_input_files(str(trained.submission("tiny", "a").path))
        tab.get_by_role("button", name="Download the checked file").wait_for(timeout=60_000)
