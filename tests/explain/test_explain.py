"""``kit explain``: which images and classes are explained, by which models, and what is written."""

import numpy as np
import pytest
from PIL import Image

import kit
from kit.evaluation.oof_with_labels import load_labeled_oof
from kit.explain.pictures import overlaid
from kit.storage.files import read_json
from tests.conftest import COLORS, draw, raises_kit_error, run_kit, run_kit_json


@pytest.fixture(scope="module")
def explained(trained, tmp_path_factory):
    """All training images of the class ``red``, explained."""
    import shutil

    from kit.storage.workspace import Workspace

    root = tmp_path_factory.mktemp("explain")
    shutil.copytree(trained.root, root / "copy")
    workspace = Workspace.open(root / "copy")
    return workspace, kit.explain("tiny/a", class_name="red", workspace=workspace)


def test_a_training_image_is_explained_by_the_model_that_did_not_train_on_it(explained):
    workspace, done = explained
    labeled = load_labeled_oof(workspace.run("tiny", "a"), workspace)
    for each in done.images:
        row = labeled.oof.ids.index(each.id)
        assert each.models == tuple(k for k, mask in enumerate(labeled.validated) if mask[row])
        assert len(each.models) == 1


def test_predicted_and_true_classes_have_a_map_of_the_images_size(explained):
    _, done = explained
    for each in done.images:
        assert each.truth == ("red",)
        assert "red" in each.classes
        assert each.maps.shape == (len(each.classes), *each.pixels.shape[:2])
        assert each.maps.dtype == np.float32
        assert (each.maps >= 0).all() and (each.maps <= 1).all()


def test_a_sheet_a_picture_per_image_and_a_json_are_written(explained):
    _, done = explained
    written = read_json(done.folder / "explain.json")
    assert [each["id"] for each in written["images"]] == [each.id for each in done.images]
    for each in written["images"]:
        assert Image.open(done.folder / each["file"]).width >= 2 * 96
        assert all(0 <= share <= 1 for part in each["explained"] for share in part["center"])
    assert Image.open(done.sheet).height > 96 * len(done.images)


def test_new_images_are_explained_by_all_models(explained, tmp_path):
    workspace, _ = explained
    draw(tmp_path / "new" / "one.png", COLORS["red"], seed=9)
    draw(tmp_path / "two.png", COLORS["10"], seed=10)
    done = kit.explain("tiny/a", images=[tmp_path / "new", tmp_path / "two.png"], workspace=workspace)
    assert [each.id.rsplit("/", 1)[1] for each in done.images] == ["one.png", "two.png"]
    assert all(each.models == (0, 1) and each.truth == () for each in done.images)
    assert not (done.folder / ".partial").exists()


def test_mistakes_are_the_most_confident_wrong_predictions(explained):
    workspace, _ = explained
    labeled = load_labeled_oof(workspace.run("tiny", "a"), workspace)
    wrong = {i for i, row, target in zip(labeled.oof.ids, labeled.oof.probs, labeled.targets, strict=True)
             if row.argmax() != target}  # fmt: skip
    if not wrong:
        with raises_kit_error("explain_no_mistake"):
            kit.explain("tiny/a", mistakes=5, workspace=workspace)
        return
    done = kit.explain("tiny/a", mistakes=5, workspace=workspace)
    assert {each.id for each in done.images} <= wrong
    probs = [each.probs[0] for each in done.images]
    assert probs == sorted(probs, reverse=True)


def test_the_command_prints_the_sheet_and_json_the_classes(explained):
    workspace, _ = explained
    command = ("explain", "tiny/a", "--class", "10", "--method", "occlusion", "--workspace", workspace.root)
    assert "sheet.png" in run_kit(*command).stdout
    listed = run_kit_json(*command)["images"]
    assert {"10"} == {name for each in listed for name in each["truth"]}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"class_name": "purple"}, "unknown_name"),
        ({"method": "magic"}, "unknown_name"),
        ({"class_name": "red", "mistakes": 3}, "explain_choices"),
        ({"images": ["nowhere.png"]}, "no_images"),
    ],
)
def test_wrong_choices_are_refused(explained, options, code):
    workspace, _ = explained
    with raises_kit_error(code):
        kit.explain("tiny/a", workspace=workspace, **options)


def test_more_images_than_fit_on_a_sheet_are_refused(explained, tmp_path):
    workspace, _ = explained
    for i in range(101):
        (tmp_path / f"{i}.png").write_bytes(b"")
    with raises_kit_error("explain_too_many"):
        kit.explain("tiny/a", images=[tmp_path], workspace=workspace)


def test_a_blend_is_refused(explained):
    workspace, _ = explained
    kit.blend(["tiny/a", "tiny/b"], name="both", workspace=workspace)
    with raises_kit_error("is_blend"):
        kit.explain("tiny/both", class_name="red", workspace=workspace)


def test_an_image_that_cannot_be_read_is_named_and_nothing_is_left(explained, tmp_path):
    workspace, _ = explained
    (tmp_path / "broken.png").write_bytes(b"\x89PNG not an image")
    before = (workspace.run("tiny", "a").path / "explain" / "explain.json").read_bytes()
    with raises_kit_error("image_unreadable"):
        kit.explain("tiny/a", images=[tmp_path / "broken.png"], workspace=workspace)
    assert (workspace.run("tiny", "a").path / "explain" / "explain.json").read_bytes() == before


def test_a_map_colors_the_image_only_where_it_is_above_zero():
    pixels = np.full((2, 2, 3), 100, dtype=np.uint8)
    drawn = overlaid(pixels, np.array([[0.0, 1.0], [0.0, 0.0]], dtype=np.float32))
    assert (drawn[0, 0] == 100).all()
    assert (drawn[0, 1] != 100).any()
