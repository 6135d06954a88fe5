"""Submit a run: the file, its trace and its checks; reproduce a submission from its trace."""

import hashlib
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from kit.competition.samples import load_competition
from kit.config.load import config_yaml, load_config
from kit.errors import KitError
from kit.predictions import load_test
from kit.storage.files import read_json, write_json, write_text
from kit.storage.provenance import Identity, write_artifact
from kit.storage.workspace import SubmissionFile
from kit.submission.format import format_for
from kit.submission.heldout import held_out_score
from kit.submission.submit import submit, submit_again
from kit.submission_format.kinds import submission_kinds
from tests.conftest import raises_kit_error
from tests.evaluation.runs import write_held_out
from tests.submission.runs import write_submittable_run
from tests.submission.text_order import TextOrderKind


def test_the_file_has_the_format_of_the_sample_and_the_predicted_labels(trained):
    file = trained.submission("tiny", "a").path
    test = load_test(trained.run("tiny", "a"))
    assert file.read_bytes().startswith(b"ID,Label\r\n0.png,")
    rows = pd.read_csv(file, dtype=str).set_index("ID")["Label"]
    predicted = [test.classes[c] for c in test.probs.argmax(axis=1)]
    assert rows.to_dict() == dict(zip(test.ids, predicted, strict=True))


def test_a_second_submit_writes_nothing(trained_copy):
    submitted = submit(trained_copy.run("tiny", "a"), trained_copy)
    assert not submitted.written
    assert submitted.proof.mirror == submitted.proof.cv


def test_unreadable_test_images_are_reported(trained_copy):
    run = trained_copy.run("tiny", "a")
    test = load_test(run)
    replace(test, origin=replace(test.origin, unreadable=("3.png",))).save(run.test)
    assert submit(run, trained_copy).unreadable == ("3.png",)


def test_test_images_added_after_prediction_are_refused(trained_copy):
    folder = trained_copy.root / "data/tiny"
    shutil.copy(folder / "test/0.png", folder / "test/99.png")
    with (folder / "sample_submission.csv").open("a") as file:
        file.write("99.png,2\r\n")
    with pytest.raises(KitError) as caught:
        submit(trained_copy.run("tiny", "a"), trained_copy)
    assert caught.value.where == "tiny/a" and "(99.png)" in caught.value.problem


def test_no_file_is_written_if_the_round_trip_check_fails(trained_copy, monkeypatch):
    """The writer numbers classes in text order (10 before 2), a common mistake."""
    file = trained_copy.submission("tiny", "a").path
    file.unlink()
    monkeypatch.setitem(submission_kinds._entries, "label", TextOrderKind(submission_kinds.get("label")))
    with raises_kit_error("round_trip_rows", where="submissions/tiny/a.csv"):
        submit(trained_copy.run("tiny", "a"), trained_copy)
    assert not file.exists()
    assert list(file.parent.glob(".*")) == []


def test_held_out_score_joins_rows_by_id(trained_copy):
    config = load_config(trained_copy.config("a"))
    competition = load_competition(config.competition, trained_copy)
    submission_format = format_for(config.submission, competition)
    file = trained_copy.submission("tiny", "a").path
    truth = pd.read_csv(file, dtype=str).set_axis(["ID", "label"], axis=1)
    solution = trained_copy.root / "solution.csv"
    truth.iloc[::-1].to_csv(solution, index=False)
    assert held_out_score(file, solution, submission_format, competition) == 1.0
    truth.loc[0, "label"] = "red" if truth.loc[0, "label"] != "red" else "2"
    truth.to_csv(solution, index=False)
    assert held_out_score(file, solution, submission_format, competition) == 1 - 1 / 8
    truth.iloc[1:].to_csv(solution, index=False)
    with raises_kit_error("ids_missing", where=str(solution)) as caught:
        held_out_score(file, solution, submission_format, competition)
    assert "(0.png)" in caught.value.problem


CLASSES = ("bus", "car", "van")
TEST_IDS = tuple(f"t{number}" for number in range(24))


def read_cells(file) -> list[list[str]]:
    text = file.path.read_text(encoding="utf-8")
    return [line.split(",") for line in text.splitlines()]


def sample_text(cells, header="id,answer", ids=TEST_IDS) -> str:
    return "\n".join([header, *(f"{i},{cells}" for i in ids)]) + "\n"


@pytest.mark.parametrize(
    ("task", "metric", "classes", "sample", "kind"),
    [
        ("multiclass", "accuracy", CLASSES, sample_text("bus"), "label"),
        ("binary", "f1", ("0", "1"), sample_text("True"), "label"),
        ("binary", "roc_auc", ("0", "1"), sample_text("0"), "score"),
        ("multiclass", "log_loss", CLASSES, sample_text("0.3,0.3,0.4", "id,van,bus,car"), "probabilities"),
        ("multiclass", {"name": "map_at_k", "k": 2}, CLASSES, sample_text("bus car"), "top_k"),
        ("ordinal", "rmse", ("1", "2", "3", "4"), sample_text("2.5"), "value"),
        ("multilabel", "f1_samples", CLASSES, sample_text("bus|car") + "", "labels"),
        ("multilabel", "f1_macro", CLASSES, sample_text("no,no,no", "id,van,bus,car"), "flags"),
        (
            "multilabel",
            "log_loss",
            CLASSES,
            "id,answer\n" + "".join(f"{i}_{c},0.5\n" for i in TEST_IDS for c in CLASSES),
            "long",
        ),
    ],
)
def test_every_kind_passes_the_checks_and_is_written(workspace, task, metric, classes, sample, kind):
    options = {"blank": True} if kind == "labels" else {}
    submitted = submit(
        write_submittable_run(workspace, task, metric, classes, TEST_IDS, sample, **options), workspace
    )
    assert submitted.kind == kind
    assert submitted.problems == []
    assert submitted.proof.mirror == pytest.approx(submitted.proof.cv, abs=1e-9)
    header, *body = read_cells(submitted.file)
    expected = [line.split(",") for line in sample.splitlines()]
    assert header == expected[0]
    assert [row[0] for row in body] == [row[0] for row in expected[1:]]
    trace = read_json(submitted.file.trace)
    assert (trace["rows"], trace["kind"], trace["cv"]) == (len(body), kind, submitted.proof.cv)


def submit_labels(workspace, **changes):
    run = write_submittable_run(
        workspace, "multiclass", "accuracy", CLASSES, TEST_IDS, sample_text("bus"), **changes
    )
    return run, submit(run, workspace)


def test_the_trace_records_where_the_file_comes_from(workspace):
    run, submitted = submit_labels(workspace)
    trace = read_json(submitted.file.trace)
    assert trace["sha256"] == hashlib.sha256(submitted.file.path.read_bytes()).hexdigest()
    assert (trace["file"], trace["experiment"], trace["of"]) == ("made.csv", "made/made", "experiment")
    assert trace["predictions"] == load_test(run).digest()
    assert trace["config"]["competition"]["name"] == "made"
    assert {"cv", "sd", "mirror", "decision", "commit", "kit", "written", "models", "members"} <= set(trace)


def test_submit_again_reproduces_the_file_byte_for_byte(workspace):
    _, submitted = submit_labels(workspace, decide=("prior",))
    before = submitted.file.path.read_bytes()
    assert submit_again(submitted.file.trace, workspace) == (submitted.file, False)
    submitted.file.path.unlink()
    assert submit_again(submitted.file.trace, workspace) == (submitted.file, True)
    assert submitted.file.path.read_bytes() == before


def test_submit_again_refuses_changed_predictions_models_and_inputs(workspace):
    run, submitted = submit_labels(workspace)
    submitted.file.path.unlink()
    test = load_test(run)
    replace(test, probs=np.roll(test.probs, 1, axis=0)).save(run.test)
    with raises_kit_error("predictions_changed") as caught:
        submit_again(submitted.file.trace, workspace)
    assert "--tta identity" in caught.value.next
    other = replace(test.origin, models="new")
    replace(test, probs=np.roll(test.probs, 1, axis=0), origin=other).save(run.test)
    with raises_kit_error("models_changed") as caught:
        submit_again(submitted.file.trace, workspace)
    assert "made.json" in caught.value.next
    test.save(run.test)
    sample = workspace.root / "data/made/sample.csv"
    sample.write_text(sample.read_text().replace("\n", "\r\n"), newline="")
    with raises_kit_error("inputs_changed"):
        submit_again(submitted.file.trace, workspace)
    assert not submitted.file.path.exists()


def test_submit_again_does_not_overwrite_another_file(workspace):
    _, submitted = submit_labels(workspace)
    submitted.file.path.write_text("mine")
    with raises_kit_error("file_exists", where=str(submitted.file.path)):
        submit_again(submitted.file.trace, workspace)
    assert submitted.file.path.read_text() == "mine"


def test_a_trace_that_is_missing_damaged_or_incomplete_is_refused(workspace, tmp_path):
    write_artifact(tmp_path / "x.json", {"file": "x.csv"}, Identity("made/x", "submission"), {})
    with raises_kit_error("trace_incomplete") as caught:
        submit_again(tmp_path / "x.json", workspace)
    assert "config, decision" in caught.value.problem
    with raises_kit_error("file_missing"):
        submit_again(tmp_path / "none.json", workspace)
    (tmp_path / "x.json").write_text("[1]")
    with raises_kit_error("file_damaged"):
        submit_again(tmp_path / "x.json", workspace)


def test_a_file_with_a_recorded_score_is_kept_under_another_name(workspace):
    run, submitted = submit_labels(workspace)
    before = submitted.file.path.read_bytes()
    write_json(submitted.file.scores, {"sha256": read_json(submitted.file.trace)["sha256"], "public": 0.5})
    assert submit(run, workspace).kept is None
    test = load_test(run)
    replace(test, probs=np.roll(test.probs, 1, axis=0)).save(run.test)
    again = submit(run, workspace)
    assert again.written and again.kept is not None
    assert again.kept.read_bytes() == before
    assert again.kept.name == f"made@{hashlib.sha256(before).hexdigest()[:8]}.csv"
    assert read_json(again.kept.with_suffix(".json"))["experiment"] == "made/made"
    assert read_json(again.kept.with_suffix(".scores.json"))["public"] == 0.5
    assert not submitted.file.scores.exists()


def test_a_trace_with_another_checksum_is_rewritten(workspace):
    """A process killed after writing the file and before writing the trace leaves such a trace."""
    run, submitted = submit_labels(workspace)
    write_json(submitted.file.trace, read_json(submitted.file.trace) | {"sha256": "0" * 64})
    again = submit(run, workspace)
    assert not again.written
    assert (
        read_json(submitted.file.trace)["sha256"]
        == hashlib.sha256(submitted.file.path.read_bytes()).hexdigest()
    )


def test_oof_and_test_predictions_of_different_models_are_refused(workspace):
    run, _ = submit_labels(workspace)
    test = load_test(run)
    replace(test, origin=replace(test.origin, models="new")).save(run.test)
    with raises_kit_error("models_differ"):
        submit(run, workspace)


@pytest.mark.parametrize("leaks", ["report", "use"])
def test_labels_of_leaked_test_images_are_written_only_if_the_config_says_so(workspace, leaks):
    run, submitted = submit_labels(workspace)
    before = read_cells(submitted.file)
    folder = workspace.root / "data/made"
    predicted = before[4][1]
    other = next(name for name in CLASSES if name != predicted)
    shutil.copy(folder / f"train/{other}/{CLASSES.index(other)}.png", folder / "test/t3.png")
    config = load_config(run.config, [f"competition.leaks={leaks}"])
    write_text(run.config, config_yaml(config))
    again = submit(run, workspace)
    assert [leak.test_id for leak in again.leaks] == ["t3"]
    assert again.leaks_used == (leaks == "use")
    assert read_cells(again.file)[4] == ["t3", other if leaks == "use" else predicted]
    assert [each["test_id"] for each in read_json(again.file.trace)["leaks"]] == ["t3"]
    assert bool(read_json(again.file.trace)["known_labels"]) == (leaks == "use")
    again.file.path.unlink()
    submit_again(again.file.trace, workspace)
    assert read_cells(again.file)[4][1] == (other if leaks == "use" else predicted)


def test_the_round_trip_scores_held_out_sets_too(workspace):
    run = write_submittable_run(
        workspace, "multilabel", "f1_macro", CLASSES, TEST_IDS, sample_text("bus|car"), blank=True
    )
    targets = np.eye(3)[np.arange(30) % 3]
    write_held_out(
        workspace, run, targets, (0.2 + 0.6 * np.roll(targets, 1, axis=0)).astype(np.float32), CLASSES
    )
    expected = f1_score(targets, np.roll(targets, 1, axis=0), average="macro", zero_division=0)
    assert submit(run, workspace).proof.held_out == {"later": pytest.approx(expected)}


def test_test_images_without_a_class_need_a_fallback(workspace):
    run = write_submittable_run(
        workspace,
        "multilabel",
        "f1_samples",
        CLASSES,
        TEST_IDS,
        sample_text("bus|car"),
        skill=0.5,
        decide=("none",),
    )
    with raises_kit_error("no_class", where="submission"):
        submit(run, workspace)
    run = write_submittable_run(
        workspace,
        "multilabel",
        "f1_samples",
        CLASSES,
        TEST_IDS,
        sample_text("bus|car"),
        skill=0.5,
        decide=("none",),
        fallback="van",
    )
    cells = [row[1] for row in read_cells(submit(run, workspace).file)[1:]]
    assert "" not in cells and "van" in cells


def test_a_tab_separated_sample_gives_a_tsv_file(workspace):
    sample = sample_text("bus").replace(",", "\t")
    submitted = submit(
        write_submittable_run(workspace, "multiclass", "accuracy", CLASSES, TEST_IDS, sample), workspace
    )
    assert submitted.file.path.name == "made.tsv"
    assert submitted.file.path.read_text().startswith("id\tanswer\nt0\t")


def test_crops_are_pooled_into_the_rows_of_the_sample(workspace):
    crops = tuple(f"i{number // 2}_{number % 2}" for number in range(20))
    sample = sample_text("bus", ids=[f"i{number}" for number in range(10)])
    pool = {"image": r"^(.+?)(?:_\d+)?$", "how": "mean"}
    run = write_submittable_run(workspace, "multiclass", "accuracy", CLASSES, crops, sample, pool=pool)
    submitted = submit(run, workspace)
    test = load_test(run)
    means = test.probs.reshape(10, 2, 3).mean(axis=1)
    expected = [CLASSES[c] for c in means.argmax(axis=1)]
    assert [row[1] for row in read_cells(submitted.file)[1:]] == expected


def test_submit_again_reproduces_a_kept_file(workspace):
    run, submitted = submit_labels(workspace)
    before, test = submitted.file.path.read_bytes(), load_test(run)
    write_json(submitted.file.scores, {"sha256": read_json(submitted.file.trace)["sha256"], "public": 0.5})
    replace(test, probs=np.roll(test.probs, 1, axis=0)).save(run.test)
    kept = SubmissionFile(submit(run, workspace).kept)
    kept.path.unlink()
    test.save(run.test)
    assert submit_again(kept.trace, workspace) == (kept, True)
    assert kept.path.read_bytes() == before


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_a_sample_with_fewer_classes_gets_and_scores_only_these(workspace, task):
    sample = "id,c,a\n" + "".join(f"t{i},0.5,0.5\n" for i in range(6))
    test = tuple(f"t{i}" for i in range(6))
    run = write_submittable_run(workspace, task, "log_loss", ("a", "b", "c"), test, sample, decide=("none",))
    done = submit(run, workspace)
    rows = pd.read_csv(done.file.path, dtype={"id": str}).set_index("id")
    test_probs = load_test(run)
    probs = pd.DataFrame(test_probs.probs, index=test_probs.ids, columns=test_probs.classes)[["c", "a"]]
    wanted = probs.div(probs.sum(axis=1), axis=0) if task == "multiclass" else probs
    assert list(rows.columns) == ["c", "a"]
    assert np.allclose(rows.loc[wanted.index], wanted, atol=1e-6)
    assert done.proof.mirror == done.proof.cv
    assert submit_again(done.file.trace, workspace)[1] is False
