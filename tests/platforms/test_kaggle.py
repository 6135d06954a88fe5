"""Kaggle's own client against a local server: downloads, submissions, bundles, and every refusal."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import kit
from kit.leaderboard.scores import read_scores
from kit.platforms.kaggle import waiting
from kit.platforms.kaggle.client import competition_slug
from kit.platforms.kaggle.push import dataset_slug
from tests.conftest import RecordedProgress, draw_class_folders, raises_kit_error, run_kit, run_kit_json
from tests.platforms.kaggle_server import COMPETITION, KEY, NUMBER, USER, Kaggle, archive_of, serving

# Importing the package would end the process: its older versions look for credentials then.
pytestmark = pytest.mark.skipif(find_spec("kaggle") is None, reason="needs the extra kaggle")


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    """A server that the package takes for Kaggle, with the credentials of an account."""
    from kagglesdk import kaggle_env

    for name in ("KAGGLE_API_TOKEN", "KAGGLE_API_ENVIRONMENT", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_USERNAME", USER)
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    monkeypatch.setattr(waiting, "FIRST_PAUSE", 0.01)
    served = Kaggle()
    with serving(served) as url:
        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, url)
        yield served


@pytest.fixture
def competition(kaggle, tmp_path):
    """The server has a competition to download."""
    kaggle.archive = archive_of(draw_class_folders(tmp_path / "theirs"))
    return kaggle


@pytest.fixture
def submitted(trained_copy, monkeypatch):
    """The current folder is a workspace with the submission ``tiny/a``."""
    monkeypatch.chdir(trained_copy.root)
    return trained_copy


def submit(workspace, **options):
    return kit.kaggle_submit("tiny/a", message="first", workspace=workspace, **options)


# --- download


def test_a_downloaded_competition_is_unpacked_and_has_a_config_that_runs(workspace, competition):
    done = kit.kaggle_download(COMPETITION, workspace=workspace)
    assert done.config == workspace.config(COMPETITION)
    assert len(list((workspace.root / "data" / COMPETITION / "train").rglob("*.png"))) == 30
    assert done.to_edit is None
    assert [path.name for path in (workspace.root / "data").iterdir()] == [COMPETITION]  # no archive is left
    assert competition.named("DownloadDataFiles") == [{"competitionName": COMPETITION}]


def test_the_command_prints_what_init_prints_and_nothing_of_the_package(workspace, competition):
    address = f"https://www.kaggle.com/competitions/{COMPETITION}/data"
    printed = run_kit("kaggle", "download", address, "--name", "leaves").stdout
    assert "configs/leaves.yaml written" in printed
    assert "Next: kit run configs/leaves.yaml" in printed
    assert "Downloading" not in printed


def test_a_download_does_not_replace_a_folder(workspace, competition):
    (workspace.root / "data" / COMPETITION).mkdir(parents=True)
    with raises_kit_error("folder_exists"):
        kit.kaggle_download(COMPETITION, workspace=workspace)
    assert competition.calls == []


def test_an_archive_that_init_refuses_is_unpacked_and_kept_as_a_folder(workspace, kaggle, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "notes.txt").write_text("no images here")
    kaggle.archive = archive_of(tmp_path / "theirs")
    with pytest.raises(kit.errors.KitError):
        kit.kaggle_download(COMPETITION, workspace=workspace)
    assert [path.name for path in (workspace.root / "data").iterdir()] == [COMPETITION]


def test_an_archive_with_paths_outside_its_folder_unpacks_nothing(workspace, kaggle):
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../escaped.txt", "outside")
    kaggle.archive = buffer.getvalue()
    with pytest.raises(kit.errors.KitError):
        kit.kaggle_download(COMPETITION, workspace=workspace)
    assert not list(workspace.root.rglob("escaped.txt"))


@pytest.mark.parametrize(
    ("given", "slug"),
    [
        ("leaf-classification", "leaf-classification"),
        ("https://www.kaggle.com/competitions/leaf-classification/data", "leaf-classification"),
        ("https://kaggle.com/c/leaf-classification", "leaf-classification"),
    ],
)
def test_a_competition_is_named_by_its_slug_or_address(given, slug):
    assert competition_slug(given) == slug


@pytest.mark.parametrize("given", ["", "Leaf Classification", "https://example.org/leaf", "../leaf"])
def test_other_texts_are_not_a_competition(given):
    with raises_kit_error("kaggle_slug_invalid"):
        competition_slug(given)


# --- submit


def test_a_submission_is_uploaded_as_it_is_and_its_score_recorded(submitted, kaggle):
    kaggle.pending = 2
    done = submit(submitted, competition=COMPETITION)
    file = submitted.submission("tiny", "a")
    assert list(kaggle.uploads.values()) == [file.path.read_bytes()]
    assert kaggle.submissions == [
        {"competitionName": COMPETITION, "blobFileTokens": "token-1", "submissionDescription": "first"}
    ]
    assert (done.number, read_scores(file).public, read_scores(file).kaggle) == (NUMBER, 0.81, NUMBER)
    assert len(kaggle.named("ListSubmissions")) == 3


def test_the_recorded_score_is_in_the_leaderboard(submitted, kaggle):
    printed = run_kit("kaggle", "submit", "tiny/a", "--message", "first").stdout
    assert "public 0.81 recorded" in printed
    rows = run_kit_json("leaderboard")["entries"]
    assert [row["public"] for row in rows if row["name"] == "a"] == [0.81]


def test_a_file_is_not_uploaded_twice(submitted, kaggle):
    kaggle.pending = 1
    assert submit(submitted, wait=False).recorded is None
    assert submit(submitted).recorded.scores.public == 0.81
    assert len(kaggle.submissions) == 1


def test_waiting_ends_at_the_time_limit_and_the_next_call_waits_on(submitted, kaggle, monkeypatch):
    monkeypatch.setattr(waiting, "FIRST_PAUSE", 60.0)
    kaggle.pending = 1
    with pytest.raises(kit.errors.Interrupted):
        submit(submitted, time_limit="5s")
    assert submit(submitted).recorded.scores.public == 0.81
    assert len(kaggle.submissions) == 1


def test_a_changed_file_that_was_recorded_before_is_refused_before_any_upload(submitted, kaggle):
    submit(submitted)
    file = submitted.submission("tiny", "a")
    file.path.write_text(file.path.read_text().replace("red", "2"))
    with pytest.raises(kit.errors.KitError):
        submit(submitted)
    assert len(kaggle.submissions) == 1


def test_what_check_refuses_is_not_uploaded(submitted, kaggle):
    file = submitted.submission("tiny", "a")
    lines = file.path.read_text().splitlines()
    file.path.write_text("\n".join(lines[:-1]) + "\n")
    file.trace.unlink()
    with raises_kit_error("submission_invalid"):
        submit(submitted)
    assert kaggle.calls == []


def test_a_file_of_another_tool_needs_a_config(submitted, kaggle):
    ours, theirs = submitted.submission("tiny", "a"), submitted.submission("tiny", "theirs")
    theirs.path.write_bytes(ours.path.read_bytes())
    with raises_kit_error("submission_without_run"):
        kit.kaggle_submit("tiny/theirs", message="first", workspace=submitted)
    done = kit.kaggle_submit(
        "tiny/theirs",
        submitted.config("a"),
        message="first",
        workspace=submitted,
        progress=RecordedProgress(),
    )
    assert done.recorded.scores.public == 0.81


def test_a_file_that_cannot_be_scored_is_told_with_the_reason(submitted, kaggle):
    kaggle.scoring_error = "Submission must have 9 rows"
    with raises_kit_error("kaggle_scoring_failed") as caught:
        submit(submitted)
    assert "must have 9 rows" in str(caught.value)
    assert read_scores(submitted.submission("tiny", "a")).public is None


def test_an_upload_that_is_cut_submits_nothing(submitted, kaggle):
    kaggle.cut_uploads = True
    with raises_kit_error("kaggle_upload_failed"):
        submit(submitted)
    assert kaggle.submissions == []


# --- refusals


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (
            403,
            "You must accept this competition's rules before you can continue",
            "kaggle_rules_not_accepted",
        ),
        (404, "Not found", "kaggle_not_found"),
        (401, "Unauthenticated", "kaggle_credentials_refused"),
        (403, "Permission 'competitions.get' was denied", "kaggle_forbidden"),
        (429, "Too many requests", "kaggle_too_many_requests"),
        (500, "Internal error", "kaggle_unavailable"),
        (418, "I'm a teapot", "kaggle_refused"),
    ],
)
def test_each_refusal_of_a_download_is_one_message(workspace, kaggle, status, message, code):
    kaggle.refusals["DownloadDataFiles"] = (status, message)
    with raises_kit_error(code) as caught:
        kit.kaggle_download(COMPETITION, workspace=workspace)
    assert message in str(caught.value)
    assert caught.value.next
    assert not (workspace.root / "data" / COMPETITION).exists()


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (
            400,
            "Submission not allowed: your team has used its daily submission allowance (5)",
            "kaggle_daily_limit",
        ),
        (400, "This competition only accepts submissions from notebooks", "kaggle_code_competition"),
        (403, "You must accept the rules of this competition", "kaggle_rules_not_accepted"),
    ],
)
@pytest.mark.parametrize("method", ["StartSubmissionUpload", "CreateSubmission"])
def test_each_refusal_of_a_submission_is_one_message(submitted, kaggle, method, status, message, code):
    kaggle.refusals[method] = (status, message)
    with raises_kit_error(code):
        submit(submitted)
    assert read_scores(submitted.submission("tiny", "a")) is None  # nothing is recorded as uploaded


def test_without_credentials_the_message_says_where_they_belong(workspace, kaggle, monkeypatch):
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")
    with raises_kit_error("kaggle_no_credentials"):
        kit.kaggle_download(COMPETITION, workspace=workspace)


def test_without_the_package_the_message_names_the_extra(workspace, kaggle, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "kaggle"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "kaggle", None)
    with raises_kit_error("extra_missing"):
        kit.kaggle_download(COMPETITION, workspace=workspace)


def test_without_network_the_message_says_so(workspace, kaggle, monkeypatch):
    from kagglesdk import kaggle_env

    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, "http://127.0.0.1:9")
    with raises_kit_error("kaggle_unreachable"):
        kit.kaggle_download(COMPETITION, workspace=workspace)


def test_no_credential_and_no_signed_address_is_written_or_printed(submitted, kaggle):
    printed = run_kit("kaggle", "submit", "tiny/a", "--message", "first")
    kaggle.refusals["ListSubmissions"] = (403, "denied")
    refused = run_kit("kaggle", "submit", "tiny/a", "--message", "first", code=1)
    assert len(kaggle.authorizations) == 1  # the package sent them
    texts = [printed.output, refused.output]
    texts += [path.read_text(errors="replace") for path in submitted.root.rglob("*") if path.is_file()]
    for secret in (KEY, "signed-address"):
        assert not any(secret in text for text in texts)


# --- bundles


def test_a_pushed_bundle_is_a_private_dataset_and_the_next_push_a_version(submitted, kaggle, tmp_path):
    out = tmp_path / "bundle"
    done = kit.bundle("tiny/a", out=out, push=True, workspace=submitted)
    assert done.dataset.endswith(f"/{USER}/kit-tiny-a")
    (created,) = kaggle.named("CreateDataset")
    assert (created["slug"], created["isPrivate"]) == ("kit-tiny-a", True)
    assert out.joinpath("predict.py").read_bytes() in kaggle.uploads.values()
    assert not (out / "dataset-metadata.json").exists()
    kit.bundle("tiny/a", out=out, push=True, workspace=submitted)
    assert len(kaggle.named("CreateDataset")) == len(kaggle.named("CreateDatasetVersion")) == 1


def test_a_push_that_is_cut_keeps_the_bundle_and_the_same_command_uploads_it(submitted, kaggle, tmp_path):
    kaggle.cut_uploads = True
    with raises_kit_error("kaggle_upload_failed"):
        kit.bundle("tiny/a", out=tmp_path / "bundle", push=True, workspace=submitted)
    assert json.loads(Path(tmp_path / "bundle" / "bundle.json").read_text())
    kaggle.cut_uploads = False
    kit.bundle("tiny/a", out=tmp_path / "bundle", push=True, workspace=submitted)
    assert any(kaggle.uploads.values())


@pytest.mark.parametrize("label", ["a/b", "leaves/first_run", "x" * 80, "ä/ö"])
def test_every_run_has_a_dataset_name_that_kaggle_allows(label):
    slug = dataset_slug(label)
    assert 6 <= len(slug) <= 50
    assert slug.strip("-") == slug
    assert slug.isascii()
