"""The pages of ``kit app`` show what the files hold, write only through verbs, and never show a traceback."""

import io
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kit.app import main, uploads
from kit.app.parts import plain
from kit.competition.samples import load_competition
from kit.config.load import load_config
from kit.storage.workspace import Workspace
from tests.conftest import raises_kit_error, run_kit, write_config

PAGES = [title.lower() for title in main.PAGES]


def shown(page):
    """Return every text of a page."""
    kinds = (
        page.header,
        page.subheader,
        page.text,
        page.info,
        page.error,
        page.success,
        page.caption,
        page.code,
    )
    return "\n".join(str(each.value) for kind in kinds for each in kind)


def has_failed(page):
    return bool(page.exception) or "has failed" in shown(page)


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens(open_page, trained, name):
    page = open_page(name, trained)
    assert not has_failed(page)
    assert not page.error
    assert page.header[0].value.lower() == name


@pytest.mark.parametrize("name", PAGES)
def test_every_page_of_an_empty_workspace_says_what_to_do(open_page, tmp_path, name):
    page = open_page(name, Workspace.open(tmp_path))
    assert not has_failed(page)
    assert page.info


def test_the_data_page_finds_images_by_class_fold_and_id(open_page, trained):
    page = open_page("data", trained)
    all_ids = [line for text in page.text for line in text.value.splitlines() if line.endswith(".png")]
    assert len(all_ids) == 24
    page.text_input[0].set_value("red/1").run()
    found = [line for text in page.text for line in text.value.splitlines() if line.endswith(".png")]
    assert found == ["red/1.png"]


def test_the_experiments_page_lists_and_compares_runs(open_page, trained):
    page = open_page("experiments", trained)
    assert list(page.dataframe[0].value["run"].sort_values()) == ["tiny/a", "tiny/b"]
    runs = page.multiselect[0]
    runs.set_value(runs.options).run()
    assert not has_failed(page)
    assert all(name in page.html[0].body for name in ("tiny/a", "tiny/b"))


def test_a_corrected_label_is_written_beside_the_folds_and_the_data_stays(open_page, trained_copy):
    workspace = trained_copy
    page = open_page("mistakes", workspace)
    labels = [box for box in page.selectbox if box.key and box.key.startswith("label ")]
    assert labels
    sample_id = labels[0].key.split()[-1]
    before = (workspace.root / "data" / "tiny" / "train").stat().st_mtime_ns
    labels[0].select("red").run()
    assert not has_failed(page)
    table = pd.read_csv(workspace.corrections("tiny"), dtype=str)
    assert table.to_dict("records") == [{"id": sample_id, "label": "red"}]
    assert "corrected: red" in shown(page)
    assert (workspace.root / "data" / "tiny" / "train").stat().st_mtime_ns == before
    config = load_config(workspace.config("a"), ["competition.corrections=folds/tiny.corrections.csv"])
    corrected = load_competition(config.competition, workspace).train.set_index("id")
    assert corrected.at[sample_id, "label"] == "red"


def png(size=(32, 32), color=(200, 0, 0)):
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def test_dropped_images_are_predicted_as_by_the_command(open_page, trained, tmp_path):
    page = open_page("predict", trained)
    page.file_uploader[0].set_value(("<b>a</b>.png", png(), "image/png")).run()
    page.button[0].click().run()
    assert not has_failed(page)
    assert not page.error
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "x.png").write_bytes(png())
    run = page.selectbox[0].value.label
    run_kit("predict", run, "--images", folder, "--out", tmp_path / "x.csv", "--workspace", trained.root)
    expected = pd.read_csv(tmp_path / "x.csv", dtype={"id": str, "label": str})
    top = page.dataframe[0].value.set_index("class")["value"]
    assert top.to_dict() == pytest.approx(expected[list(top.index)].iloc[0].to_dict(), abs=1e-6)


def test_dropped_images_are_explained(open_page, trained):
    page = open_page("predict", trained)
    page.file_uploader[0].set_value(("a.png", png(), "image/png"))
    page.checkbox[0].check().run()
    page.button[0].click().run()
    assert not has_failed(page)
    assert not page.error
    assert len(page.image) == 2  # the image, and its maps


def test_an_image_that_is_added_is_seen(open_page, trained_copy):
    page = open_page("data", trained_copy)
    before = page.metric[0].value
    folder = trained_copy.root / "data" / "tiny" / "train" / "red"
    shutil.copy(folder / "0.png", folder / "new.png")
    page.run()
    assert int(page.metric[0].value) == int(before) + 1


def test_a_file_that_is_no_image_is_refused_with_a_message(open_page, trained):
    page = open_page("predict", trained)
    page.file_uploader[0].set_value(("a.png", b"<script>alert(1)</script>", "image/png")).run()
    page.button[0].click().run()
    assert len(page.error) == 1
    assert not has_failed(page)


def test_a_submission_is_checked(open_page, trained):
    good = trained.submission("tiny", "a").path.read_bytes()
    page = open_page("submit", trained)
    page.file_uploader[0].set_value(("mine.csv", good, "text/csv")).run()
    assert page.success
    page.file_uploader[0].set_value(("mine.csv", good.replace(b"ID", b"id"), "text/csv")).run()
    assert page.error
    assert not has_failed(page)
    assert len(page.dataframe[0].value)


def test_a_score_is_recorded(open_page, trained_copy):
    page = open_page("submit", trained_copy)
    page.number_input[0].set_value(0.5)
    page.button[-1].click().run()
    assert not has_failed(page)
    file = page.selectbox[-1].value
    assert '"public": 0.5' in file.scores.read_text()


def test_a_run_that_is_deleted_while_it_is_shown_is_a_message(open_page, trained_copy):
    page = open_page("mistakes", trained_copy)
    run = page.selectbox[0].value
    shutil.rmtree(run.path)
    page.run()
    assert not has_failed(page)
    shutil.rmtree(trained_copy.root / "runs")
    page.run()
    assert not has_failed(page)
    assert page.info


def test_pages_of_several_labels_open(open_page, tmp_path):
    workspace = multilabel(tmp_path)
    for name in PAGES:
        page = open_page(name, workspace)
        assert not has_failed(page), name
        assert not page.error, name


def multilabel(root):
    """Return a workspace with a trained run of a multi-label competition."""
    folder = root / "data" / "spots"
    rng = np.random.default_rng(0)
    rows = []
    for part, count in (("train", 24), ("test", 4)):
        (folder / part).mkdir(parents=True)
        for number in range(count):
            name = f"{part}{number}.png"
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / part / name)
            if part == "train":
                rows.append((name, number % 2, number // 2 % 2))
    pd.DataFrame(rows, columns=["id", "dark", "<i>light</i>"]).to_csv(folder / "train.csv", index=False)
    workspace = Workspace.open(root)
    train = {
        "layout": "csv",
        "folder": "train",
        "file": "train.csv",
        "id": "id",
        "label": ["dark", "<i>light</i>"],
    }
    changes = {
        "competition__name": "spots",
        "competition__data": "spots",
        "competition__task": "multilabel",
        "competition__metric": "f1_macro",
        "competition__train": train,
        "competition__test": None,
        "submission": None,
    }
    config = write_config(workspace, name="spots", **changes)
    run_kit("train", config, "--workspace", root)
    run_kit("predict", "spots/spots", "--workspace", root)
    return workspace


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"no image", "image_unreadable"),
        (png()[:20], "image_unreadable"),
    ],
)
def test_broken_images_are_refused(tmp_path, content, code):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with raises_kit_error(code):
        uploads.check_images([path])


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "a.png"
    Image.new("1", (20_000, 20_000)).save(path)
    assert path.stat().st_size < 1e6
    with raises_kit_error("image_too_large"):
        uploads.check_images([path])


def test_too_many_images_are_refused(tmp_path):
    with raises_kit_error("too_many_images"):
        uploads.check_images([tmp_path / "a.png"] * (uploads.MAX_IMAGES + 1))


@pytest.mark.parametrize(
    "name", ["../../evil.png", "..\\evil.png", "/etc/passwd", "", "..", "a\0b.png", "x" * 300]
)
def test_uploads_stay_in_their_folder(name):
    class Upload:
        def __init__(self):
            self.name = name

        def getvalue(self):
            return b"x"

    with uploads.stored([Upload(), Upload()]) as paths:
        assert len({*paths}) == 2
        assert all(path.resolve().parent == paths[0].parent.resolve() for path in paths)
        assert all(path.read_bytes() == b"x" for path in paths)
    assert not paths[0].exists()


def test_text_of_files_and_classes_is_not_read_as_markup():
    hostile = "![x](http://a.b/c.png) <img src=x onerror=y> **a** `b` [l](m)"
    assert plain(hostile).replace("\\", "") == hostile
    assert not any(sign in plain(hostile).replace(f"\\{sign}", "") for sign in "![]()<>*`")
