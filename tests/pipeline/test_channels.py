"""A competition of five channels, whose classes differ in the fourth only, from init to a checked submission."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kit.predictions import load_test
from kit.storage.workspace import Workspace
from tests.competition.images.tiff import write_tiff
from tests.conftest import run_kit, run_kit_json

SETTINGS = ["folds.count=2", "train.epochs=6", "train.batch_size=8", "train.lr=0.01", "train.precision=fp32"]
SETTINGS += ["image.size=16", "model.options.widths=[8,16]", "train.keep=last", "augment.preset=medium"]


def spectrum(label: int, seed: int) -> np.ndarray:
    """Return 12-bit values (20, 24, 5): noise, but the fourth channel is dark or bright."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 4096, (20, 24, 5)).astype(np.uint16)
    values[:, :, 3] = rng.integers(0, 1200, (20, 24)) + (2800 if label else 0)
    return values


@pytest.fixture(scope="module")
def spectra(tmp_path_factory) -> Workspace:
    """A workspace with a trained experiment ``spectra``."""
    root = tmp_path_factory.mktemp("spectra")
    data = root / "data" / "spectra"
    for label, name in enumerate(["dry", "wet"]):
        for i in range(12):
            write_tiff(data / "train" / name / f"{i}.tif", spectrum(label, 100 * label + i), deflate=True)
    for i in range(6):
        write_tiff(data / "test" / f"{i}.tif", spectrum(i % 2, 1000 + i))
    sample = pd.DataFrame({"ID": [f"{i}.tif" for i in range(6)], "Label": ["dry"] * 5 + ["wet"]})
    sample.to_csv(data / "sample_submission.csv", index=False)
    found = run_kit_json("init", data, "--workspace", root)
    values = {finding["key"]: finding["value"] for finding in found["findings"]}
    assert values["image.channels"] == 5
    assert values["image.range"] == {"uint16": [0, 4095]}
    run_kit("run", root / "configs" / "spectra.yaml", *sets(*SETTINGS), "--workspace", root)
    return Workspace.open(root)


def sets(*changes):
    return [part for change in changes for part in ("--set", change)]


def test_a_run_learns_from_the_fourth_channel_and_writes_a_checked_submission(spectra):
    written = pd.read_csv(spectra.root / "submissions" / "spectra" / "spectra.csv")
    assert list(written["ID"]) == [f"{i}.tif" for i in range(6)]
    assert list(written["Label"]) == ["dry", "wet"] * 3
    config = spectra.root / "configs" / "spectra.yaml"
    file = spectra.root / "submissions" / "spectra" / "spectra.csv"
    run_kit("check", file, config, "--workspace", spectra.root)


def test_pages_and_sheets_show_the_three_channel_view(spectra):
    run_kit("evaluate", "spectra/spectra", "--workspace", spectra.root)
    assert "data:image/jpeg" in spectra.run("spectra", "spectra").report.read_text()
    config = spectra.root / "configs" / "spectra.yaml"
    run_kit("augment", config, *sets(*SETTINGS), "--workspace", spectra.root)
    (sheet,) = (spectra.root / "runs" / "spectra").glob("augment*.png")
    assert Image.open(sheet).width > 100
    found = run_kit_json("inspect", config, "--workspace", spectra.root)
    assert len(found["mean"]) == len(found["std"]) == 5
    expected = np.mean(
        [spectrum(c, 100 * c + i).mean(axis=(0, 1)) for c in (0, 1) for i in range(12)], axis=0
    )
    assert found["mean"] == pytest.approx(list(expected / 4095), abs=0.002)
    assert found["nearly_flat"] == []


def test_other_channels_than_the_files_have_are_named_before_training(spectra):
    config = spectra.root / "configs" / "spectra.yaml"
    changed = sets(*SETTINGS, "image.channels=3", "name=three")
    result = run_kit("run", config, *changed, "--workspace", spectra.root, code=1)
    assert "it has 5 channels, and image.channels is 3" in " ".join(result.stderr.split())


def test_new_images_of_five_channels_are_predicted_like_test_images(spectra, tmp_path):
    out = tmp_path / "new.csv"
    options = ["--images", spectra.root / "data" / "spectra" / "test", "--out", out]
    run_kit("predict", "spectra", *options, "--workspace", spectra.root)
    found, test = pd.read_csv(out).set_index("id"), load_test(spectra.run("spectra", "spectra"))
    np.testing.assert_allclose(found.loc[list(test.ids), list(test.classes)], test.probs, atol=1e-6)
    assert list(found["label"]) == ["dry", "wet"] * 3
