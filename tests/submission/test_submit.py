"""Submit a run: the file, its provenance, its checks; and reproduce a submission."""

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
from kit.predictions import load_predictions
from kit.storage.files import read_json, write_json, write_text
from kit.storage.workspace import SubmissionFile, Workspace
from kit.submission.format import format_for
from kit.submission.heldout import held_out_score
from kit.submission.submit import submit, submit_again
from kit.submission_format.kinds import submission_kinds
from tests.conftest import raises_kit_error
from tests.evaluation.made import hold_out
from tests.submission.made import made_submission
from tests.submission.permuted import Permuted


@pytest.fixture
def copy(trained, tmp_path) -> Workspace:
    shutil.copytree(trained.root, tmp_path / "copy")
    return Workspace.open(tmp_path / "copy")


def test_the_file_has_the_samples_form_and_the_models_answers(trained):
    file = trained.submission("tiny", "a").path
    test = load_predictions(trained.run("tiny", "a").test)
    assert file.read_bytes().startswith(b"ID,Label\r\n0.png,")
    rows = pd.read_csv(file, dtype=str).set_index("ID")["Label"]
    decided = [test.classes[c] for c in test.probs.argmax(axis=1)]
    assert rows.to_dict() == dict(zip(test.ids, decided, strict=True))


def test_again_it_is_there_already(copy):
    submitted = submit(copy.run("tiny", "a"), copy)
    assert not submitted.written
    assert submitted.proof.mirror == submitted.proof.cv


def test_unreadable_test_images_are_named(copy):
    run = copy.run("tiny", "a")
    test = load_predictions(run.test)
    replace(test, origin=replace(test.origin, unreadable=("3.png",))).save(run.test)
    assert submit(run, copy).unreadable == ("3.png",)


def test_a_test_folder_that_has_grown_is_noticed(copy):
    folder = copy.root / "data/tiny"
    shutil.copy(folder / "test/0.png", folder / "test/99.png")
    with (folder / "sample_submission.csv").open("a") as file:
        file.write("99.png,2\r\n")
    with pytest.raises(KitError) as caught:
        submit(copy.run("tiny", "a"), copy)
    assert caught.value.where == "tiny/a" and "(99.png)" in caught.value.problem


def test_a_round_trip_that_differs_stops_the_writing(copy, monkeypatch):
    """The writer numbers classes in text order, as in the report that kit was made for."""
    file = copy.submission("tiny", "a").path
    file.unlink()
    monkeypatch.setitem(submission_kinds._entries, "label", Permuted(submission_kinds.get("label")))
    with raises_kit_error("round_trip_rows", where="submissions/tiny/a.csv"):
        submit(copy.run("tiny", "a"), copy)
    assert not file.exists()
    assert list(file.parent.glob(".*")) == []


def test_held_out_score_joins_by_id(copy):
    config = load_config(copy.config("a"))
    competition = load_competition(config.competition, copy)
    form = format_for(config.submission, competition)
    file = copy.submission("tiny", "a").path
    truth = pd.read_csv(file, dtype=str).set_axis(["ID", "label"], axis=1)
    solution = copy.root / "solution.csv"
    truth.iloc[::-1].to_csv(solution, index=False)
    assert held_out_score(file, solution, form, competition) == 1.0
    truth.loc[0, "label"] = "red" if truth.loc[0, "label"] != "red" else "2"
    truth.to_csv(solution, index=False)
    assert held_out_score(file, solution, form, competition) == 1 - 1 / 8
    truth.iloc[1:].to_csv(solution, index=False)
    with raises_kit_error("ids_missing", where=str(solution)) as caught:
        held_out_score(file, solution, form, competition)
    assert "(0.png)" in caught.value.problem


SEVERAL = ("bus", "car", "van")
TEST = tuple(f"t{number}" for number in range(24))


def rows_of(file) -> list[list[str]]:
    text = file.path.read_text(encoding="utf-8")
    return [line.split(",") for line in text.splitlines()]


@pytest.fixture
def place(tmp_path) -> Workspace:
    return Workspace.open(tmp_path)


def sample_of(cells, header="id,answer", ids=TEST) -> str:
    return "\n".join([header, *(f"{i},{cells}" for i in ids)]) + "\n"


@pytest.mark.parametrize(
    ("task", "metric", "classes", "sample", "kind"),
    [
        ("multiclass", "accuracy", SEVERAL, sample_of("bus"), "label"),
        ("binary", "f1", ("0", "1"), sample_of("True"), "label"),
        ("binary", "roc_auc", ("0", "1"), sample_of("0"), "score"),
        ("multiclass", "log_loss", SEVERAL, sample_of("0.3,0.3,0.4", "id,van,bus,car"), "probabilities"),
        ("multiclass", {"name": "map_at_k", "k": 2}, SEVERAL, sample_of("bus car"), "top_k"),
        ("ordinal", "rmse", ("1", "2", "3", "4"), sample_of("2.5"), "value"),
        ("multilabel", "f1_samples", SEVERAL, sample_of("bus|car") + "", "labels"),
        ("multilabel", "f1_macro", SEVERAL, sample_of("no,no,no", "id,van,bus,car"), "flags"),
        (
            "multilabel",
            "log_loss",
            SEVERAL,
            "id,answer\n" + "".join(f"{i}_{c},0.5\n" for i in TEST for c in SEVERAL),
            "long",
        ),
    ],
)
def test_every_kind_is_verified_checked_and_written(place, task, metric, classes, sample, kind):
    more = {"blank": True} if kind == "labels" else {}
    done = submit(made_submission(place, task, metric, classes, TEST, sample, **more), place)
    assert done.kind == kind
    assert done.problems == []
    assert done.proof.mirror == pytest.approx(done.proof.cv, abs=1e-9)
    header, *body = rows_of(done.file)
    wanted = [line.split(",") for line in sample.splitlines()]
    assert header == wanted[0]
    assert [row[0] for row in body] == [row[0] for row in wanted[1:]]
    trace = read_json(done.file.trace)
    assert (trace["rows"], trace["kind"], trace["cv"]) == (len(body), kind, done.proof.cv)


def labels_file(place, **changes):
    run = made_submission(place, "multiclass", "accuracy", SEVERAL, TEST, sample_of("bus"), **changes)
    return run, submit(run, place)


def test_its_provenance_is_beside_it(place):
    run, done = labels_file(place)
    trace = read_json(done.file.trace)
    assert trace["sha256"] == hashlib.sha256(done.file.path.read_bytes()).hexdigest()
    assert (trace["file"], trace["experiment"], trace["of"]) == ("made.csv", "made/made", "experiment")
    assert trace["predictions"] == load_predictions(run.test).digest()
    assert trace["config"]["competition"]["name"] == "made"
    assert {"cv", "sd", "mirror", "decision", "commit", "kit", "written", "models", "members"} <= set(trace)


def test_it_can_be_made_again_byte_for_byte(place):
    _, done = labels_file(place, decide=("prior",))
    before = done.file.path.read_bytes()
    assert submit_again(done.file.trace, place) == (done.file, False)
    done.file.path.unlink()
    assert submit_again(done.file.trace, place) == (done.file, True)
    assert done.file.path.read_bytes() == before


def test_it_is_reproduced_only_from_what_made_it(place):
    run, done = labels_file(place)
    done.file.path.unlink()
    test = load_predictions(run.test)
    replace(test, probs=np.roll(test.probs, 1, axis=0)).save(run.test)
    with raises_kit_error("predictions_changed") as caught:
        submit_again(done.file.trace, place)
    assert "--tta identity" in caught.value.next
    other = replace(test.origin, models="new")
    replace(test, probs=np.roll(test.probs, 1, axis=0), origin=other).save(run.test)
    with raises_kit_error("models_changed") as caught:
        submit_again(done.file.trace, place)
    assert "made.json" in caught.value.next
    test.save(run.test)
    sample = place.root / "data/made/sample.csv"
    sample.write_text(sample.read_text().replace("\n", "\r\n"), newline="")
    with raises_kit_error("inputs_changed"):
        submit_again(done.file.trace, place)
    assert not done.file.path.exists()


def test_another_file_in_its_place_is_not_overwritten(place):
    _, done = labels_file(place)
    done.file.path.write_text("mine")
    with raises_kit_error("file_exists", where=str(done.file.path)):
        submit_again(done.file.trace, place)
    assert done.file.path.read_text() == "mine"


def test_a_trace_that_is_missing_damaged_or_incomplete_is_refused(place, tmp_path):
    write_json(tmp_path / "x.json", {"file": "x.csv"})
    with raises_kit_error("trace_incomplete") as caught:
        submit_again(tmp_path / "x.json", place)
    assert "config, decision" in caught.value.problem
    with raises_kit_error("file_missing"):
        submit_again(tmp_path / "none.json", place)
    (tmp_path / "x.json").write_text("[1]")
    with raises_kit_error("file_damaged"):
        submit_again(tmp_path / "x.json", place)


def test_a_file_with_a_recorded_score_is_kept(place):
    run, done = labels_file(place)
    before = done.file.path.read_bytes()
    write_json(done.file.scores, {"sha256": read_json(done.file.trace)["sha256"], "public": 0.5})
    assert submit(run, place).kept is None
    test = load_predictions(run.test)
    replace(test, probs=np.roll(test.probs, 1, axis=0)).save(run.test)
    again = submit(run, place)
    assert again.written and again.kept is not None
    assert again.kept.read_bytes() == before
    assert again.kept.name == f"made@{hashlib.sha256(before).hexdigest()[:8]}.csv"
    assert read_json(again.kept.with_suffix(".json"))["experiment"] == "made/made"
    assert read_json(again.kept.with_suffix(".scores.json"))["public"] == 0.5
    assert not done.file.scores.exists()


def test_a_trace_of_another_file_is_written_anew(place):
    """As after a process that was killed between the two files."""
    run, done = labels_file(place)
    write_json(done.file.trace, read_json(done.file.trace) | {"sha256": "0" * 64})
    again = submit(run, place)
    assert not again.written
    assert read_json(done.file.trace)["sha256"] == hashlib.sha256(done.file.path.read_bytes()).hexdigest()


def test_predictions_of_other_models_are_refused(place):
    run, _ = labels_file(place)
    test = load_predictions(run.test)
    replace(test, origin=replace(test.origin, models="new")).save(run.test)
    with raises_kit_error("models_differ"):
        submit(run, place)


@pytest.mark.parametrize("leaks", ["report", "use"])
def test_known_labels_are_submitted_only_if_the_config_says_so(place, leaks):
    run, done = labels_file(place)
    before = rows_of(done.file)
    folder = place.root / "data/made"
    predicted = before[4][1]
    other = next(name for name in SEVERAL if name != predicted)
    shutil.copy(folder / f"train/{other}/{SEVERAL.index(other)}.png", folder / "test/t3.png")
    config = load_config(run.config, [f"competition.leaks={leaks}"])
    write_text(run.config, config_yaml(config))
    again = submit(run, place)
    assert [leak.test_id for leak in again.leaks] == ["t3"]
    assert again.leaks_used == (leaks == "use")
    assert rows_of(again.file)[4] == ["t3", other if leaks == "use" else predicted]
    assert [each["test_id"] for each in read_json(again.file.trace)["leaks"]] == ["t3"]
    assert bool(read_json(again.file.trace)["known_labels"]) == (leaks == "use")
    again.file.path.unlink()
    submit_again(again.file.trace, place)
    assert rows_of(again.file)[4][1] == (other if leaks == "use" else predicted)


def test_held_out_sets_go_the_same_way(place):
    run = made_submission(place, "multilabel", "f1_macro", SEVERAL, TEST, sample_of("bus|car"), blank=True)
    targets = np.eye(3)[np.arange(30) % 3]
    hold_out(place, run, targets, (0.2 + 0.6 * np.roll(targets, 1, axis=0)).astype(np.float32), SEVERAL)
    expected = f1_score(targets, np.roll(targets, 1, axis=0), average="macro", zero_division=0)
    assert submit(run, place).proof.held_out == {"later": pytest.approx(expected)}


def test_test_images_without_a_class_need_a_fallback(place):
    run = made_submission(
        place, "multilabel", "f1_samples", SEVERAL, TEST, sample_of("bus|car"), skill=0.5, decide=("none",)
    )
    with raises_kit_error("no_class", where="submission"):
        submit(run, place)
    run = made_submission(
        place,
        "multilabel",
        "f1_samples",
        SEVERAL,
        TEST,
        sample_of("bus|car"),
        skill=0.5,
        decide=("none",),
        fallback="van",
    )
    cells = [row[1] for row in rows_of(submit(run, place).file)[1:]]
    assert "" not in cells and "van" in cells


def test_a_sample_of_tabs_makes_a_tsv(place):
    sample = sample_of("bus").replace(",", "\t")
    done = submit(made_submission(place, "multiclass", "accuracy", SEVERAL, TEST, sample), place)
    assert done.file.path.name == "made.tsv"
    assert done.file.path.read_text().startswith("id\tanswer\nt0\t")


def test_crops_are_pooled_to_the_rows_of_the_sample(place):
    crops = tuple(f"i{number // 2}_{number % 2}" for number in range(20))
    sample = sample_of("bus", ids=[f"i{number}" for number in range(10)])
    pool = {"image": r"^(.+?)(?:_\d+)?$", "how": "mean"}
    run = made_submission(place, "multiclass", "accuracy", SEVERAL, crops, sample, pool=pool)
    done = submit(run, place)
    test = load_predictions(run.test)
    means = test.probs.reshape(10, 2, 3).mean(axis=1)
    expected = [SEVERAL[c] for c in means.argmax(axis=1)]
    assert [row[1] for row in rows_of(done.file)[1:]] == expected


def test_a_kept_file_can_be_made_again(place):
    run, done = labels_file(place)
    before, test = done.file.path.read_bytes(), load_predictions(run.test)
    write_json(done.file.scores, {"sha256": read_json(done.file.trace)["sha256"], "public": 0.5})
    replace(test, probs=np.roll(test.probs, 1, axis=0)).save(run.test)
    kept = SubmissionFile(submit(run, place).kept)
    kept.path.unlink()
    test.save(run.test)
    assert submit_again(kept.trace, place) == (kept, True)
    assert kept.path.read_bytes() == before
