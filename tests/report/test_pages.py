"""The HTML pages of runs and audits."""

import re

from kit.config.load import load_config
from kit.pipeline import inspect
from tests.conftest import COLORS, draw


def external_links(html: str) -> list[str]:
    """Return every address that a browser would load from outside the page."""
    return [u for u in re.findall(r"(?:src|href)=[\"']([^\"']+)", html) if not u.startswith(("data:", "#"))]


def test_the_run_page_is_self_contained_and_shows_scores_and_curves(trained):
    html = trained.run("tiny", "a").report.read_text()
    assert external_links(html) == []
    assert "<svg" in html
    assert "validation accuracy" in html
    assert "Learning curves" in html
    assert "lr: 0.01" in html


def test_the_audit_page_shows_duplicates_side_by_side(tiny, tiny_config):
    folder = tiny.root / "data/tiny"
    (folder / "train/2/3.png").write_bytes((folder / "train/2/2.png").read_bytes())
    draw(folder / "train/2/<b>.png", COLORS["2"], 5)
    (folder / "train/10/4.png").write_bytes(b"")
    page = inspect(tiny_config, workspace=tiny).page
    html = page.read_text()
    assert external_links(html) == []
    pair = re.search(r'<div class="card pair">(.*?)</div>\s*</div>', html, re.DOTALL)[1]
    assert pair.count("<img") == 2
    assert "train/2/2.png" in pair
    assert "train/10/4.png" in html
    assert "empty file" in html
    assert "<b>.png" not in html


def test_the_stored_config_of_a_run_equals_the_loaded_one(trained):
    assert load_config(trained.run("tiny", "a").config) == load_config(trained.config("a"))
