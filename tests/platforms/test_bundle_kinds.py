"""Bundles of other tasks and kinds of submission: numbers, several labels, codes, rows of several images."""

import shutil

import numpy as np
import pandas as pd

from kit import pipeline
from kit.platforms.predict_bundle import predict_bundle
from tests.conftest import draw, raises_kit_error, write_config
from tests.inference.test_new_images import weather_config
from tests.test_regression import AGES, draw_ages


def bundled(workspace, name):
    """Write the bundle of a run beside the workspace's data, and return it with the submission of kit."""
    written = next((workspace.root / "submissions" / name).glob(f"{name}.csv")).read_bytes()
    bundle = workspace.root / "bundle"
    pipeline.bundle(f"{name}/{name}", out=bundle, workspace=workspace)
    return bundle, written


def submitted(bundle, data) -> bytes:
    predict_bundle(bundle, data, bundle.parent / "submission.csv")
    return (bundle.parent / "submission.csv").read_bytes()


def larger(data, number: int):
    """Return a copy of a competition's folder with more test images and without tables."""
    hidden = data.parent / "hidden"
    shutil.copytree(data / "test", hidden / "test")
    for i in range(number):
        draw(hidden / "test" / f"new-{i}.png", (200 * (i % 2), 90, 200 * (i // 2 % 2)), 9000 + i)
    return hidden


def test_numbers_are_submitted_after_postprocessing(workspace):
    data = workspace.root / "data" / "ages"
    draw_ages(data)
    config = write_config(workspace, AGES, decide=[{"name": "clip"}], train__epochs=2)
    pipeline.run(config, workspace=workspace)
    bundle, written = bundled(workspace, "ages")
    assert submitted(bundle, data) == written
    rows = pd.read_csv(workspace.root / "submission.csv").set_index("id")
    submitted(bundle, larger(data, 7))
    table = pd.read_csv(workspace.root / "submission.csv").set_index("id")
    assert len(table) == len(rows) + 7
    np.testing.assert_allclose(table.loc[rows.index], rows, rtol=1e-5)


def test_several_labels_are_submitted_by_the_fitted_thresholds(workspace):
    pipeline.run(weather_config(workspace), workspace=workspace)
    data = workspace.root / "data" / "weather"
    bundle, written = bundled(workspace, "weather")
    assert submitted(bundle, data) == written
    hidden = larger(data, 5)
    submitted(bundle, hidden)
    table = pd.read_csv(workspace.root / "submission.csv").set_index("id")
    assert list(table.columns) == ["rain", "late sun"]
    assert table.shape[0] == 11
    new = [name for name in table.index if name.startswith("new-")]
    assert table.loc[new].to_numpy().any()


def test_codes_of_classes_come_from_the_bundle(tiny):
    data = tiny.root / "data" / "tiny"
    codes = pd.DataFrame({"name": ["2", "10", "red"], "code": ["B2", "B10", "R"]})
    codes.to_csv(data / "codes.csv", index=False)
    sample = (data / "sample_submission.csv").read_text().replace("red", "R").replace(",10", ",B10")
    (data / "sample_submission.csv").write_text(sample.replace(",2", ",B2"))
    changes = {"file": "codes.csv", "class": "name", "code": "code"}
    pipeline.run(write_config(tiny, name="tiny", submission__codes=changes), workspace=tiny)
    bundle, written = bundled(tiny, "tiny")
    (data / "codes.csv").unlink()
    assert submitted(bundle, data) == written
    (data / "sample_submission.csv").unlink()
    shown = pd.read_csv(tiny.root / "submission.csv").set_index("ID")
    submitted(bundle, data)
    assert shown.equals(pd.read_csv(tiny.root / "submission.csv").set_index("ID").loc[shown.index])
    assert set(shown["Label"]) <= {"B2", "B10", "R"}


def test_images_of_a_row_are_pooled(tiny):
    pattern, data = "(.+)_[0-9]+", tiny.root / "data" / "tiny"
    for i in range(8):
        (data / "test" / f"{i}.png").rename(data / "test" / f"item{i // 2}_{i}.png")
    for path in sorted((data / "train").glob("*/*.png")):
        path.rename(path.with_name(f"{path.parent.name}-{path.stem}_0.png"))
    ids = [f"item{i}" for i in range(4)]
    pd.DataFrame({"ID": ids, "Label": ["red", "2", "10", "red"]}).to_csv(
        data / "sample_submission.csv", index=False
    )
    config = write_config(
        tiny,
        name="tiny",
        competition__test__file=None,
        competition__test__id=None,
        competition__group_pattern=pattern,
        submission__pool={"image": pattern, "how": "mean"},
    )
    pipeline.run(config, workspace=tiny)
    bundle, written = bundled(tiny, "tiny")
    assert submitted(bundle, data) == written
    unlisted = data / "test" / "item9_0.png"
    shutil.copy(data / "test" / "item0_0.png", unlisted)
    assert submitted(bundle, data) == written  # the sample does not list the row
    unlisted.unlink()
    (data / "sample_submission.csv").unlink()
    submitted(bundle, data)
    assert list(pd.read_csv(tiny.root / "submission.csv")["ID"]) == ids
    (data / "test" / "odd.png").write_bytes((data / "test" / "item0_0.png").read_bytes())
    with raises_kit_error("pattern_mismatch"):
        submitted(bundle, data)
