"""Verbs before training: init, inspect, folds, augment, probe, bench, dry_run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kit.config import check_name
from kit.errors import KitError
from kit.pipeline.inputs import ConfigLike, WorkspaceLike, open_config, open_workspace
from kit.runtime.displayed import Displayed
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import write_text
from kit.storage.workspace import RunFolder, Workspace

if TYPE_CHECKING:
    from kit.bench.measure import Bench
    from kit.competition.audit import Audit
    from kit.competition.layouts.base import Finding
    from kit.competition.samples import Competition
    from kit.config import Config
    from kit.folds.balance_report import FoldBalance
    from kit.folds.table import Folds
    from kit.probe.probe import Probes
    from kit.training.dry_run import DryRun


@dataclass(frozen=True)
class InitResult(Displayed):
    """The config that ``init`` wrote.

    Attributes:
        written: False if the same file existed already.
        unused: One line for every table that the config does not use, kind of file that kit cannot read, and
            archive that is unpacked already.
        unpacked: One line for every archive that was unpacked now.
        to_edit: Why ``kit run`` will refuse the config, and the value to edit; None: it accepts the config.
    """

    config: Path
    findings: list[Finding]
    written: bool
    unused: list[str]
    unpacked: list[str] = field(default_factory=list)
    to_edit: KitError | None = None


@dataclass(frozen=True)
class InspectResult(Displayed):
    """The audit of a competition's images, and the HTML page that shows it."""

    audit: Audit
    page: Path


@dataclass(frozen=True)
class AugmentResult(Displayed):
    """The PNG of training images as the model sees them."""

    sheet: Path


@dataclass(frozen=True)
class FoldsResult(Displayed):
    """The folds of a competition, their CSV, and how evenly each repeat spreads the classes.

    Attributes:
        state: ``made`` now, ``existing``, or ``different``: existing, but not as the config describes.
        invalid: Experiments of the competition that were trained on other folds.
        invalid_blends: Blends of these experiments.
    """

    folds: Folds
    path: Path
    state: Literal["made", "existing", "different"]
    scheme: str
    balances: list[FoldBalance]
    invalid: list[RunFolder] = field(default_factory=list)
    invalid_blends: list[RunFolder] = field(default_factory=list)

    @property
    def largest_deviation(self) -> float:
        """The most images by which a class in a fold deviates from its share."""
        return max(balance.largest_deviation for balance in self.balances)

    def as_dict(self) -> dict[str, object]:
        """Return the result as ``--json`` prints it."""
        return {
            "count": self.folds.count,
            "rows": len(self.folds.table),
            "scheme": self.scheme,
            "repeats": len(self.folds.columns),
            "largest_deviation": self.largest_deviation,
            "chi_square": self.balances[0].chi_square,
            "p_value": self.balances[0].p_value,
            "invalid": [run.label for run in self.invalid],
            "invalid_blends": [run.label for run in self.invalid_blends],
        }


def init(
    data: str | Path,
    *,
    name: str | None = None,
    label: str | Sequence[str] | None = None,
    model: str | None = None,
    weights: str | None = None,
    layout: str | None = None,
    depth: int | None = None,
    label_pattern: str | None = None,
    max_gb: float = 50.0,
    force: bool = False,
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> InitResult:
    """Detect the layout of a competition folder and write ``configs/NAME.yaml``.

    Args:
        data: A folder, or an archive to unpack under ``data/``: a path, or a name under a data root. Archives
            in the folder are unpacked beside themselves.
        name: The competition's name; by default that of the folder.
        label: The label column, or the columns of the classes, if the tables leave it open.
        layout: The layout to use instead of the detected one.
        depth: How many levels of folders name the class, if the folders leave it open.
        label_pattern: The regular expression whose group finds the label in a file name.
        max_gb: The largest size that each archive may unpack to.
        force: Overwrite a different config of that name.

    Raises:
        KitError: No layout fits the folder, ``kit run`` would refuse its tables or labels whatever the config
            says, or a different config of that name exists.
    """
    from kit.competition.images.files import check_extras
    from kit.competition.infer.channels import measure_channels
    from kit.competition.infer.config import infer_config
    from kit.competition.infer.pixel_range import count_frames, measure_ranges
    from kit.competition.infer.starter_config import starter_config
    from kit.competition.layouts.base import Hints
    from kit.competition.survey import image_sizes, survey_folder
    from kit.competition.unpack import unpack_beside
    from kit.competition.unpack.extract import is_archive

    workspace = open_workspace(workspace)
    given = Path(data).expanduser()
    root = (given if given.exists() else workspace.data(str(data))).absolute()
    if is_archive(root):
        root = _unpacked(root, workspace, max_gb, progress)
    chosen = name or root.resolve().name
    check_name(chosen, "--name")
    labels = (label,) if isinstance(label, str) else tuple(label or ())
    hints = Hints(labels, depth, label_pattern, layout)
    unpacking = unpack_beside(root, int(max_gb * 1e9), progress)
    survey = survey_folder(root, {*unpacking.unpacked, *unpacking.unused})
    check_extras(root, survey.all_images)
    findings = infer_config(survey, chosen, _name_for_config(root, workspace), hints)
    for measure in (measure_channels, measure_ranges, count_frames):
        findings += measure(root, survey.all_images)
    unused = survey.unused([finding.value for finding in findings])
    unused += [f"{packed}: {why}" for packed, why in unpacking.unused.items()]
    path, sizes = workspace.config(chosen), image_sizes(root)
    text = starter_config(findings, sizes, model, weights)
    folds, to_edit = _check_starter(text, workspace, path, model is not None or weights is not None)
    if folds is not None:
        text = starter_config(findings, sizes, model, weights, folds)
    written = _write_config(path, text, force, workspace)
    return InitResult(path, findings, written, unused, unpacking.told, to_edit)


def _check_starter(
    text: str, workspace: Workspace, path: Path, has_model: bool
) -> tuple[Finding | None, KitError | None]:
    """Return another number of folds, if five cannot be made or scored, and what the user has to edit.

    Args:
        has_model: Check the model and its weights, which the user named.
    """
    from kit.competition.layouts.base import Finding
    from kit.config.load import parse_config
    from kit.pipeline.starter_check import SOLVED_BY_CONFIG, check_starter

    config = parse_config(text, workspace.shown(path))
    if has_model:
        from kit.engine.models.build import check_model

        check_model(config.model)
        if config.model.weights:
            workspace.weights(config.model.weights)
    try:
        count, why = check_starter(config, workspace)
    except KitError as error:
        if error.code not in SOLVED_BY_CONFIG:
            raise
        return None, error
    if why is None:
        return None, None
    because = f"not {config.folds.count}: {why.where}: {why.problem}"
    return Finding("folds.count", count, because), None


def _write_config(path: Path, text: str, force: bool, workspace: Workspace) -> bool:
    """Write a config, and return whether it differs from the file that existed.

    Raises:
        KitError: A different config exists, and is not to be overwritten.
    """
    existing = path.read_text(encoding="utf-8") if path.exists() else None
    if existing not in (None, text) and not force:
        raise KitError(
            workspace.shown(path),
            "exists already with different content",
            "kit init does not overwrite a config that you may have edited",
            "Choose another --name, or --force to overwrite it.",
            code="config_exists",
        )
    if existing != text:
        write_text(path, text)
    return existing != text


def _unpacked(archive: Path, workspace: Workspace, max_gb: float, progress: Progress) -> Path:
    """Return the folder under ``data/`` that holds the archive's files, unpacked now or earlier."""
    from kit.competition.unpack.extract import archive_stem, unpack

    folder = workspace.unpacked(archive_stem(archive))
    done = unpack(archive, folder, int(max_gb * 1e9), progress)
    progress.note(f"{workspace.shown(folder)} {'unpacked' if done else 'exists already'}")
    return folder


def _name_for_config(root: Path, workspace: Workspace) -> str:
    """Return the folder relative to a data root if possible, so that the config works on other machines."""
    for data_root in workspace.data_roots:
        resolved, inside = root.resolve(), data_root.resolve()
        if resolved != inside and resolved.is_relative_to(inside):
            name = resolved.relative_to(inside).as_posix()
            if workspace.data(name).resolve() == resolved:  # an earlier data root may have the same name
                return name
    return str(root)


def inspect(
    config: ConfigLike,
    *,
    overrides: Sequence[str] = (),
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> InspectResult:
    """Scan every image: counts, unreadable files, exact and near duplicates; write the audit page."""
    from kit.competition.audit import audit
    from kit.competition.images.decode import DecodeOptions
    from kit.competition.samples import load_competition
    from kit.competition.scan import scan_images
    from kit.report.pages import write_audit_page

    config, workspace = open_config(config, overrides, progress), open_workspace(workspace)
    competition = load_competition(config.competition, workspace)
    options = DecodeOptions.of(config.image)
    scan = scan_images(competition, workspace.image_table(competition.name, options.key), progress, options)
    found = audit(competition, scan, config.competition.near, options)
    page = workspace.page(competition.name, "audit")
    by_fold, why_no_folds = _balance_of_folds(config, competition, workspace)
    write_audit_page(found, competition, page, options, by_fold, why_no_folds)
    return InspectResult(found, page)


def _balance_of_folds(
    config: Config, competition: Competition, workspace: Workspace
) -> tuple[FoldBalance | None, str]:
    """Return the images of each class on each fold of the folds CSV; None and why if it cannot be read."""
    from kit.folds.balance_report import fold_balance
    from kit.folds.table import read_folds

    path = workspace.folds(competition.name)
    if not path.exists():
        return None, ""
    try:
        return fold_balance(read_folds(path, competition.label_columns), config.folds), ""
    except KitError as error:
        return None, str(error)


def folds(
    config: ConfigLike,
    *,
    overrides: Sequence[str] = (),
    force: bool = False,
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> FoldsResult:
    """Split the training images into folds and write ``folds/COMPETITION.csv``.

    Args:
        force: Replace a folds CSV that holds a different partition.
    """
    from kit.competition.opened import open_competition
    from kit.ensemble.blended import blends_of
    from kit.folds.balance_report import fold_balance
    from kit.folds.make import ensure_folds
    from kit.training.data import population_of
    from kit.training.run_state import runs_of_other_folds

    config, workspace = open_config(config, overrides, progress), open_workspace(workspace)
    opened = open_competition(config, workspace, progress)
    population = population_of(opened, config, progress)
    path = workspace.folds(opened.loaded.name)
    made, state = ensure_folds(path, population, config.folds, "replace" if force else "refuse")
    balances = [fold_balance(made, config.folds, repeat) for repeat in range(len(made.columns))]
    stale = runs_of_other_folds(workspace, opened.loaded.name, made)
    blends = blends_of(stale, workspace)
    experiments = [run for run in stale if not run.blend.exists()]
    return FoldsResult(made, path, state, config.folds.scheme, balances, experiments, blends)


def augment(
    config: ConfigLike,
    *,
    images: int = 6,
    epochs: int = 7,
    overrides: Sequence[str] = (),
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> AugmentResult:
    """Draw some training images as the model will see them, epoch by epoch, on one sheet."""
    from kit.report.sheet import write_sheet
    from kit.training.augmentation_preview import training_examples

    config, workspace = open_config(config, overrides, progress), open_workspace(workspace)
    path = workspace.sheet(config.competition.name, config.name)
    write_sheet(training_examples(config, workspace, images, epochs, progress), path)
    return AugmentResult(path)


def probe(
    config: ConfigLike,
    *,
    models: Sequence[str],
    overrides: Sequence[str] = (),
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> Probes:
    """Compare backbones: cross-validate a linear classifier on each one's features.

    Args:
        models: Names, each optionally with a weights file: ``resnet50=mine.safetensors``.
    """
    from kit.probe.probe import probe as probe_models

    config, workspace = open_config(config, overrides, progress), open_workspace(workspace)
    return probe_models(config, workspace, list(models), progress)


def bench(
    config: ConfigLike,
    *,
    steps: int = 8,
    settings: bool = True,
    compiling: bool | None = None,
    overrides: Sequence[str] = (),
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> Bench:
    """Measure training and prediction speed, find the bottleneck, and try settings that may help.

    Args:
        steps: Steps per measurement.
        settings: Try other settings.
        compiling: Try ``torch.compile`` too; None: on a GPU only.
    """
    from kit.bench.measure import BenchOptions
    from kit.bench.measure import bench as measure

    wanted = BenchOptions(steps, settings, compiling)
    return measure(open_config(config, overrides, progress), open_workspace(workspace), wanted, progress)


def dry_run(
    config: ConfigLike,
    *,
    overrides: Sequence[str] = (),
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> DryRun:
    """Return what ``train`` would train and how; nothing is trained."""
    from kit.training.dry_run import dry_run as describe

    return describe(open_config(config, overrides, progress), open_workspace(workspace), progress)
