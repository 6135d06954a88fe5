"""Metadata end to end: a competition whose images are noise, and only columns of its tables tell the class."""

import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from kit import pipeline
from kit.competition.column_encoder import ColumnEncoder
from kit.competition.metadata import cell_column, kinds_of
from kit.competition.opened import open_competition
from kit.config.load import config_yaml, load_config
from kit.engine.data.cache import FEATURES
from kit.engine.fit import trainer
from kit.engine.models.build import rebuild_model
from kit.engine.models.checkpoints import read_about, save_mean, save_model
from kit.engine.models.preprocessing import Preprocessing
from kit.errors import Interrupted
from kit.inference.new_images import NewImages, images_in, open_new_models
from kit.platforms.predict_bundle import predict_bundle
from kit.predictions import load_oof, load_test
from kit.storage.files import read_json
from kit.storage.workspace import Workspace
from kit.training import experiment
from kit.training.data import prepare
from kit.training.fold_columns import FoldEncoders
from kit.training.trained_folds import training_digest
from tests.conftest import TINY, RecordedProgress, draw, raises_kit_error, run_kit, write_config
from tests.training.test_recovery import StopsAtCall

GRAY = (120, 120, 120)
READS = ["site", "age"]


def draw_metadata(root: Path, count: int = 24, test: int = 6) -> Path:
    """Write gray images; the class is the one of the site, and nearly that of the age. Rows are shuffled."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        draw(root / "train" / f"{i:02d}.png", GRAY, seed=i)
        label = "ab"[i % 2]
        age = "" if i == 5 else f"{40 + 20 * (i % 2) + rng.normal():.2f}"
        rows.append((f"{i:02d}.png", label, "north" if label == "a" else "south", age, "7" if i else ""))
    table = pd.DataFrame(rows, columns=["id", "label", "site", "age", "floor"])
    table.sample(frac=1, random_state=1).to_csv(root / "train.csv", index=False)
    found = []
    for i in range(test):
        draw(root / "test" / f"{i}.png", GRAY, seed=1000 + i)
        found.append((f"{i}.png", ["north", "south"][i % 2], "" if i == 5 else str(40 + 20 * (i % 2))))
    pd.DataFrame(found[::-1], columns=["id", "site", "age"]).to_csv(root / "test.csv", index=False)
    return root


def values(**changes) -> dict:
    source = {"layout": "csv", "folder": "train", "file": "train.csv", "id": "id", "label": "label"}
    test = {"folder": "test", "file": "test.csv", "id": "id"}
    return {
        **TINY,
        "competition": {**TINY["competition"], "train": source, "test": test},
        "submission": {"id": "id", "label": "label"},
        "train": {**TINY["train"], "epochs": 12},
        **changes,
    }


@pytest.fixture
def drawn(workspace) -> Workspace:
    draw_metadata(workspace.root / "data" / "tiny")
    return workspace


@pytest.fixture(scope="module")
def read(tmp_path_factory) -> Workspace:
    """A workspace with an experiment that reads columns, and learns to predict one."""
    workspace = Workspace.open(tmp_path_factory.mktemp("metadata"))
    draw_metadata(workspace.root / "data" / "tiny")
    path = write_config(workspace, values(), name="a", model__tabular=READS, model__auxiliary=["age"])
    pipeline.run(load_config(path), workspace=workspace)
    return workspace


@pytest.fixture
def read_copy(read, tmp_path, monkeypatch) -> Workspace:
    shutil.copytree(read.root, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return Workspace.open(tmp_path / "copy")


def config_of(workspace, **changes):
    return load_config(write_config(workspace, values(), **changes))


def edit(workspace, name, change) -> None:
    """Change a table of the competition: ``change`` gets its cells as text."""
    path = workspace.root / "data" / "tiny" / name
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table = change(table)
    table.to_csv(path, index=False)


# --- what is read, by id


def test_cells_are_joined_by_id_whatever_the_order_of_the_tables(drawn):
    data = prepare(config_of(drawn, model__tabular=READS), drawn)
    sites = dict(zip(data.samples["id"], data.samples[cell_column("site")], strict=True))
    assert sites == {f"{i:02d}.png": ["north", "south"][i % 2] for i in range(24)}
    test = data.competition.test
    ages = dict(zip(test["id"], test[cell_column("age")], strict=True))
    assert ages == {f"{i}.png": "" if i == 5 else str(40 + 20 * (i % 2)) for i in range(6)}


def test_tables_may_be_sorted_otherwise_between_opening_and_joining(drawn):
    config = config_of(drawn, model__tabular=READS)
    opened = open_competition(config, drawn)
    edit(drawn, "train.csv", lambda t: t.sort_values("id"))
    edit(drawn, "test.csv", lambda t: t.sort_values("id"))
    joined, again = (prepare(config, drawn, opened=each) for each in (opened, None))
    pd.testing.assert_frame_equal(joined.samples, again.samples)
    first, second = (each.competition.test.sort_values("id", ignore_index=True) for each in (joined, again))
    pd.testing.assert_frame_equal(first, second)


def test_extra_held_out_and_unlisted_images_have_their_own_cells(drawn):
    root = drawn.root / "data" / "tiny"
    for name, cell in (("more", "40"), ("held", "60")):
        draw(root / name / "00.png", GRAY, seed=77 if name == "more" else 78)
        pd.DataFrame([("00.png", "a", cell)], columns=["id", "label", "age"]).to_csv(root / f"{name}.csv")
    draw(root / "train" / "new.png", GRAY, seed=79)
    config = values()
    source = config["competition"]["train"]
    config["competition"] |= {
        "extra": [{**source, "folder": "more", "file": "more.csv"}],
        "held_out": {"later": {**source, "folder": "held", "file": "held.csv"}},
        "unlisted": "unlabelled",
    }
    progress = RecordedProgress()
    loaded = load_config(write_config(drawn, config, model__tabular=READS))
    data = prepare(loaded, drawn, progress)
    cells = data.competition.train.set_index("id")[[cell_column("age"), cell_column("site")]]
    assert cells.loc["more/00.png"].tolist() == ["40", ""]
    assert cells.loc["new.png"].tolist() == ["", ""]
    assert data.held_out["later"][cell_column("age")].tolist() == ["60"]
    assert sum("has no column site" in line for line in progress.lines) == 2


def test_labels_in_rows_share_the_metadata_of_their_image(drawn):
    edit(drawn, "train.csv", lambda t: pd.concat([t, t.assign(label="c")]))
    config = values()
    config["competition"] |= {"task": "multilabel", "metric": "f1_macro"}
    config["competition"]["train"]["rows"] = "label"
    loaded = load_config(write_config(drawn, config, model__tabular=["site"]))
    assert len(prepare(loaded, drawn).samples) == 24
    edit(drawn, "train.csv", lambda t: t.assign(site=["x", *t["site"][1:]]))
    with raises_kit_error("rows_contradict"):
        prepare(loaded, drawn)


def test_an_experiment_without_columns_reads_the_same_data_as_before(drawn):
    config = config_of(drawn)
    data = prepare(config, drawn)
    assert not [name for name in data.samples if name.startswith("column:")]
    again = prepare(config, drawn, opened=prepare(config_of(drawn, model__tabular=READS), drawn).opened)
    assert again.train_images == data.train_images == data.train_pixels
    assert again.other_images == data.other_images
    assert list(again.samples) == list(data.samples)
    assert training_digest(config) == training_digest(config_of(drawn, model__tabular=[]))
    assert training_digest(config) != training_digest(config_of(drawn, model__tabular=["age"]))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"model__tabular": ["agee"]}, "column_missing"),
        ({"model__auxiliary": ["agee"]}, "column_missing"),
        ({"model__auxiliary": ["label"]}, "column_has_role"),
        ({"model__tabular": ["label"]}, "column_has_role"),
        ({"model__tabular": ["id"]}, "column_has_role"),
        ({"model__tabular": [{"name": "site", "as": "number"}]}, "column_mixed"),
    ],
)
def test_columns_that_cannot_be_read_are_refused(drawn, changes, code):
    with raises_kit_error(code) as caught:
        prepare(config_of(drawn, **changes), drawn)
    if code == "column_missing":
        assert "site, age, floor" in str(caught.value)


def test_a_layout_without_a_table_is_refused(tiny):
    for key in ("tabular", "auxiliary"):
        with raises_kit_error("no_table", f"model.{key}"):
            prepare(load_config(write_config(tiny), [f"model.{key}=[age]"]), tiny)


def test_numbers_among_texts_and_blank_columns_are_refused(drawn):
    edit(drawn, "train.csv", lambda t: t.assign(age=["old", *t["age"][1:]], empty=""))
    with raises_kit_error("column_mixed") as caught:
        prepare(config_of(drawn, model__tabular=["age"]), drawn)
    assert "1 cell that is none (old)" in str(caught.value)
    for kind in ("auto", "text", "number"):
        with raises_kit_error("column_blank"):
            prepare(config_of(drawn, model__tabular=[{"name": "empty", "as": kind}]), drawn)
    columns = config_of(drawn, model__tabular=[{"name": "age", "as": "text"}, "floor"])
    data = prepare(columns, drawn)
    kinds = kinds_of(data.samples, columns.model.tabular)
    assert [kind.__name__ for kind in kinds.values()] == ["TextColumn", "NumberColumn"]


def test_a_column_listed_twice_is_refused(drawn):
    with raises_kit_error("value_invalid") as caught:
        config_of(drawn, model__tabular=["age", "age"])
    assert "listed twice" in str(caught.value)
    with raises_kit_error("value_invalid") as caught:
        config_of(drawn, model__auxiliary=[["age"]])
    assert "a column is its name" in str(caught.value)


# --- the leak rule


@pytest.mark.parametrize("fold", [0, 1])
def test_cells_of_the_validation_rows_change_nothing_that_is_fitted(drawn, fold):
    config = config_of(drawn, model__tabular=READS, model__auxiliary=["age", "site"])
    data = prepare(config, drawn)
    before = FoldEncoders.fitted(config, data, fold)
    validated = set(data.samples["id"][data.folds.validation(data.samples, fold)])

    def other(table):
        rows = table["id"].isin(validated)
        return table.assign(age=table["age"].mask(rows, "9999"), site=table["site"].mask(rows, "only there"))

    edit(drawn, "train.csv", other)
    changed = prepare(config, drawn)
    assert FoldEncoders.fitted(config, changed, fold) == before
    assert FoldEncoders.fitted(config, changed, 1 - fold) != FoldEncoders.fitted(config, data, 1 - fold)
    images = FoldEncoders.fitted(config, changed, fold)
    assert "only there" not in str(images.about)


# --- training and prediction


def test_a_model_that_reads_the_columns_learns_what_only_they_tell(read):
    run = read.run("tiny", "a")
    assert pipeline.evaluate(run, workspace=read).cv > 0.9
    assert [read_json(run.fold(k).done)["score"] for k in range(2)] == [1, 1]  # validation reads rows, too
    test = load_test(read.run("tiny", "a"))
    assert dict(zip(test.ids, test.probs.argmax(axis=1), strict=True)) == {
        f"{i}.png": i % 2 for i in range(6)
    }


@pytest.mark.slow
def test_a_plain_model_learns_nothing_from_these_images(read_copy):
    run = pipeline.train(config_of(read_copy, name="plain"), workspace=read_copy)
    pipeline.predict("tiny/plain", workspace=read_copy)
    assert pipeline.evaluate("tiny/plain", workspace=read_copy).cv < 0.8
    assert "tabular" not in read_about(read_copy.run("tiny", "plain").fold(0).model)
    assert not {"tabular", "auxiliary"} & set(
        read_about(read_copy.run("tiny", "plain").fold(0).model)["model"]
    )
    assert run


def test_the_checkpoint_has_the_encoder_and_no_auxiliary_head(read):
    for k in range(2):
        fold = read.run("tiny", "a").fold(k)
        about = read_about(fold.model)
        assert [each["name"] for each in about["tabular"]] == READS
        assert not [name for name in load_file(fold.model) if "auxiliary" in name]


def test_auxiliary_columns_leave_no_trace_in_predictions_and_saved_models(read):
    run = read.run("tiny", "a")
    oof, test = load_oof(run), load_test(run)
    assert (oof.classes, oof.probs.shape, test.probs.shape) == (("a", "b"), (24, 2), (6, 2))
    config = load_config(run.config).model.model_copy(update={"auxiliary": []})
    about = read_about(run.fold(0).model)
    sizes = ColumnEncoder.from_list(about["tabular"]).sizes
    plain = rebuild_model(config, Preprocessing.from_dict(about["preprocessing"]), 2, sizes)
    assert set(plain.state_dict()) == set(load_file(run.fold(0).model))


@pytest.mark.parametrize("average", ["null", pytest.param("{name: swa, start: 0.5}", marks=pytest.mark.slow)])
def test_resumed_equals_uninterrupted(drawn, average):
    overrides = [
        "train.epochs=4",
        "augment.mixup=0.4",
        f"train.average={average}",
        "model.head=[8, batch_norm]",
    ]
    path = write_config(drawn, values(), model__tabular=READS, model__auxiliary=["age"])
    whole, stopped = (load_config(path, [*overrides, f"name={name}"]) for name in ("whole", "stopped"))
    expected = load_file(experiment.train(whole, drawn, only=[0]).fold(0).model)
    with pytest.raises(Interrupted):
        experiment.train(stopped, drawn, only=[0], deadline=StopsAtCall(9))
    found = load_file(experiment.train(stopped, drawn, only=[0]).fold(0).model)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.slow
def test_cached_features_and_the_whole_network_give_the_same_predictions(drawn, tmp_path):
    weights = tmp_path / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), weights)
    model = {"name": "test_resnet", "weights": str(weights), "trains": "head", "tabular": READS}
    changes = {"image__size": 32, "train__epochs": 2, "augment__preset": "none", "augment__hflip": False}
    for name, views in (("cached", 0), ("whole", None)):
        plain = values(model={**model, "auxiliary": ["age"]})
        config = load_config(write_config(drawn, plain, name=name, augment__views=views, **changes))
        progress = RecordedProgress()
        pipeline.train(config, workspace=drawn, progress=progress)
        assert ("features cannot be cached" in progress) == (name == "whole")
        assert "model.auxiliary has no effect" in progress
        pipeline.predict(f"tiny/{name}", workspace=drawn)
    cached, whole = (drawn.run("tiny", name) for name in ("cached", "whole"))
    for load in (load_oof, load_test):
        np.testing.assert_allclose(load(cached).probs, load(whole).probs, atol=1e-4)
        assert load(whole).probs.std() > 0.05


@pytest.mark.slow
def test_features_are_shared_with_models_that_read_no_columns(drawn, tmp_path):
    weights = tmp_path / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), weights)
    files = []
    for name, columns in (("plain", []), ("reads", READS)):
        model = {"name": "test_resnet", "weights": str(weights), "trains": "head", "tabular": columns}
        path = write_config(drawn, values(model=model), name=name, image__size=32, augment__views=0)
        experiment.train(load_config(path, ["train.epochs=1"]), drawn, only=[0])
        files.append(sorted(path.name for path in drawn.cache("tiny").glob(f"*{FEATURES}")))
    assert files[0] == files[1] and files[0]


def test_renewed_batch_norms_see_the_rows(drawn, monkeypatch):
    seen = []
    monkeypatch.setattr(trainer, "renew_norms", lambda model, names, batches: seen.extend(batches))
    config = load_config(
        write_config(drawn, values(), model__tabular=READS), ["train.average=swa", "train.epochs=1"]
    )
    experiment.train(config, drawn, only=[0])
    assert seen and all((len(inputs), inputs[1].shape[1]) == (2, 3 + 2) for inputs in seen)


def test_changed_cells_are_other_data_and_other_test_images(read_copy):
    run, config = read_copy.run("tiny", "a"), load_config(read_copy.run("tiny", "a").config)
    before = load_test(run).probs
    edit(read_copy, "test.csv", lambda t: t.assign(site=t["site"].map({"north": "south", "south": "north"})))
    pipeline.predict("tiny/a", workspace=read_copy)
    assert not np.allclose(before, load_test(run).probs)
    edit(read_copy, "train.csv", lambda t: t.assign(age=["1", *t["age"][1:]]))
    with raises_kit_error("data_changed"):
        pipeline.train(config, workspace=read_copy)


def test_missing_and_new_values_of_test_images_are_told(drawn):
    progress = RecordedProgress()
    edit(drawn, "test.csv", lambda t: t.assign(site=["east", *t["site"][1:]]).drop(columns="age"))
    prepare(config_of(drawn, model__tabular=READS), drawn, progress)
    assert sum("no column age" in line for line in progress.lines) == 1
    assert "the 'site' of 1 test image is not in the training images" in progress
    edit(drawn, "test.csv", lambda t: t.assign(age="old"))
    prepare(config_of(drawn, model__tabular=READS), drawn, progress)
    assert "the 'age' of 6 test images is no number" in progress


def test_a_test_set_without_a_table_is_one_warning(drawn):
    config = values()
    config["competition"]["test"] = {"folder": "test"}
    progress = RecordedProgress()
    prepare(load_config(write_config(drawn, config, model__tabular=READS)), drawn, progress)
    assert sum("no column" in line for line in progress.lines) == 1
    assert "no column site, age" in progress


def test_new_images_without_a_table_are_predicted_with_missing_values_and_one_warning(read_copy):
    shutil.move(read_copy.root / "data" / "tiny" / "test", read_copy.root / "new")
    shutil.rmtree(read_copy.root / "data")
    progress = RecordedProgress()
    pipeline.predict_images("tiny/a", images="new", out="new.csv", workspace=read_copy, progress=progress)
    found = pd.read_csv("new.csv")[["a", "b"]].to_numpy()
    new = NewImages(
        read_copy.root / "new", images_in(read_copy.root / "new"), read_copy.root / "part", progress=progress
    )
    for _ in range(2):  # as for two members of a blend
        open_new_models(load_config(read_copy.run("tiny", "a").config), read_copy.run("tiny", "a"), new)
    assert sum("come without" in line for line in progress.lines) == 2
    assert found[:, 0].std() < 0.2  # nothing tells the classes apart
    assert len(found) == 6


def test_a_bundle_reads_the_columns_of_the_hidden_table(read_copy, tmp_path):
    expected = load_test(read_copy.run("tiny", "a"))
    pipeline.bundle("tiny/a", out=tmp_path / "bundle", workspace=read_copy)
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    shutil.move(read_copy.root / "data" / "tiny" / "test", hidden / "test")
    shutil.move(read_copy.root / "data" / "tiny" / "test.csv", hidden / "test.csv")
    shutil.rmtree(read_copy.root)
    progress = RecordedProgress()
    predict_bundle(tmp_path / "bundle", hidden, tmp_path / "out.csv", progress=progress)
    labels = pd.read_csv(tmp_path / "out.csv", dtype=str).set_index("id")["label"]
    assert [labels[i] for i in expected.ids] == [expected.classes[c] for c in expected.probs.argmax(axis=1)]
    assert "come without" not in progress
    table = pd.read_csv(hidden / "test.csv", dtype=str).drop(columns=["site", "age"])
    table.to_csv(hidden / "test.csv", index=False)
    predict_bundle(tmp_path / "bundle", hidden, tmp_path / "out.csv", progress=progress)
    assert sum("come without" in line for line in progress.lines) == 1


def test_an_onnx_of_a_model_that_reads_columns_is_refused(read_copy, tmp_path):
    with raises_kit_error("onnx_reads_columns"):
        pipeline.bundle("tiny/a", out=tmp_path / "bundle", workspace=read_copy, onnx=True)
    assert not (tmp_path / "bundle").exists()


def test_explanations_use_the_rows_of_their_images(read_copy, monkeypatch):
    asked, explain = [], import_module("kit.explain.explain")
    plain = explain._maps_of

    def recording(model, explainer, image, classes, device):
        with torch.no_grad():
            asked.append(model(image[None]).softmax(dim=1)[0].numpy())
        return plain(model, explainer, image, classes, device)

    monkeypatch.setattr(explain, "_maps_of", recording)
    done = pipeline.explain("tiny/a", class_name="a", method="occlusion", workspace=read_copy)
    oof = load_oof(read_copy.run("tiny", "a"))
    predicted = np.array([oof.probs[oof.ids.index(each.id)] for each in done.images])
    found = np.array(asked)
    order = [np.lexsort(each.T.round(4)) for each in (found, predicted)]  # models are asked one by one
    np.testing.assert_allclose(found[order[0]], predicted[order[1]], atol=1e-4)


def test_each_fold_starts_from_an_experiment_with_the_same_columns_head_and_all(read_copy):
    progress = RecordedProgress()
    same = config_of(read_copy, name="same", model__start="a", model__tabular=READS, train__epochs=1)
    experiment.train(same, read_copy, only=[0], progress=progress)
    assert "newly initialized" not in progress
    other = config_of(read_copy, name="other", model__start="a", model__tabular=READS[::-1], train__epochs=1)
    experiment.train(other, read_copy, only=[0], progress=progress)
    assert "newly initialized" in progress


def test_a_soup_of_models_with_other_scales_is_refused(tmp_path):
    about = {"model": {}, "preprocessing": {}, "classes": ["a", "b"]}
    files = [tmp_path / f"{mean}.safetensors" for mean in (1, 2)]
    for mean, file in enumerate(files):
        save_model(
            file, {"w": torch.ones(1)}, {**about, "tabular": [{"name": "age", "mean": mean, "std": 1.0}]}
        )
    with raises_kit_error("models_differ"):
        save_mean(tmp_path / "mean.safetensors", files, {})


@pytest.mark.slow
def test_soups_average_models_that_read_the_same_rows(read_copy):
    experiment_b = config_of(read_copy, name="b", seed=1, model__tabular=READS)
    pipeline.run(experiment_b, workspace=read_copy)
    soup = pipeline.blend(["tiny/a", "tiny/b"], name="soup", method="soup", workspace=read_copy)
    assert soup.evaluation.cv > 0.9


def test_a_dry_run_names_the_columns_and_an_opened_competition_has_none(read_copy):
    assert "the model reads site (2 categories)" in run_kit("train", "configs/a.yaml", "--dry-run").output
    opened = open_competition(load_config(read_copy.config("a")), read_copy)
    assert not [name for name in opened.readable.train if name.startswith("column:")]


def test_the_status_compares_the_columns(read_copy):
    assert "stale" not in run_kit("status", "tiny/a").output
    edit(read_copy, "train.csv", lambda t: t.assign(age=["1", *t["age"][1:]]))
    assert "the metadata of training images were edited" in run_kit("status", "tiny/a").output


# --- with teachers and neighbors


def test_pseudo_labels_and_teachers_use_the_columns_of_their_images(read_copy):
    path = write_config(read_copy, values(), name="student", model__tabular=READS)
    overrides = ["train.pseudo_labels={from: a, images: test, confidence: 0.6}", "train.teacher={from: a}"]
    config = load_config(path, [*overrides, "train.epochs=2", "augment.mixup=0.5"])
    seen = []
    images = FoldEncoders.columns_of

    def recording(self, train, validation):
        seen.append(train)
        return images(self, train, validation)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FoldEncoders, "columns_of", recording)
        pipeline.train(config, workspace=read_copy)
    for train in seen:
        new = {i.removeprefix("new:test/"): row for row, i in enumerate(train.ids) if i.startswith("new:")}
        assert len(new) == 6 and train.teacher is not None
        for name, row in new.items():
            number = int(name.removesuffix(".png"))
            assert train.cells["site"][row] == ["north", "south"][number % 2]
            assert train.targets[row] == number % 2  # the teacher has read the columns, too


def test_a_teacher_that_reads_other_columns_is_refused(read_copy):
    path = write_config(read_copy, values(), name="student", model__auxiliary=READS)
    with raises_kit_error("teacher_reads_columns", "train.teacher.from"):
        pipeline.train(load_config(path, ["train.teacher={from: a}"]), workspace=read_copy)


def test_neighbors_are_found_with_the_columns_of_all_images(read_copy):
    path = read_copy.run("tiny", "a").config
    path.write_text(config_yaml(load_config(path, ["predict.knn={k: 3, weight: 1.0}"])))
    pipeline.predict("tiny/a", workspace=read_copy)
    test = load_test(read_copy.run("tiny", "a"))
    assert dict(zip(test.ids, test.probs.argmax(axis=1), strict=True)) == {
        f"{i}.png": i % 2 for i in range(6)
    }
    assert test.probs.max(axis=1).min() > 0.9  # all neighbors are of the class, which only columns tell
