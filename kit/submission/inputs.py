"""The inputs of a submission: a run's predictions, its competition and the submission format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kit.competition.samples import Competition, load_competition
from kit.config import Config, PoolConfig
from kit.errors import KitError, counted, first_few
from kit.evaluation.oof_with_labels import LabeledPredictions, label_oof, load_labeled_oof
from kit.postprocess.postprocessing import Postprocessing
from kit.predictions import MIXED_FOLDS, FinalPredictions, Predictions, load_oof, load_test
from kit.storage.workspace import RunFolder, SubmissionFile, Workspace
from kit.submission.format import format_for
from kit.submission.leaks import Leak, with_known_labels
from kit.submission.pooling import pool_labeled, pool_test, task_of_rows
from kit.submission.round_trip import final_for_format, in_format_order
from kit.submission_format.parse import TAB_SUFFIX
from kit.submission_format.spec import SubmissionFormat
from kit.tasks import Task


@dataclass(frozen=True)
class SubmissionInputs:
    """The inputs of a submission.

    Attributes:
        task: The task of the rows; it may differ from the competition's task if images are pooled.
        test: The predictions of the test images.
    """

    run: RunFolder
    config: Config
    competition: Competition
    form: SubmissionFormat
    task: Task
    test: Predictions

    @classmethod
    def of(
        cls, run: RunFolder, config: Config, workspace: Workspace, competition: Competition | None = None
    ) -> SubmissionInputs:
        """Return the inputs of a run's submission.

        Args:
            competition: The config's competition if it is loaded already; None loads it.

        Raises:
            KitError: There are no predictions, or the format does not fit the competition.
        """
        if competition is None:
            competition = load_competition(config.competition, workspace)
        form = format_for(config.submission, competition)
        pool = config.submission.pool if config.submission else None
        test = load_test(run)
        return cls(run, config, competition, form, task_of_rows(pool, competition), test)

    @property
    def pool(self) -> PoolConfig | None:
        """How the images of a row are pooled; None: a row is one image."""
        return self.config.submission.pool if self.config.submission else None

    def file(self, workspace: Workspace) -> SubmissionFile:
        """Return the path of the submission."""
        suffix = TAB_SUFFIX if self.form.dialect.delimiter == "\t" else ".csv"
        return workspace.submission(self.run.competition, self.run.name, suffix)

    def final_predictions(self, postprocessing: Postprocessing, known: Sequence[Leak]) -> FinalPredictions:
        """Return the predictions to submit, in the order of the format's images.

        Args:
            known: Test images whose known label is submitted instead of the prediction.

        Raises:
            KitError: An image has no class, and the format has no cell for that.
        """
        rows = self.test.of_classes(self.form.classes, self.competition.task)
        rows = pool_test(rows, self.pool, self.competition, self.task)
        predictions = postprocessing.apply(rows.probs, self.task)
        if known:
            predictions = with_known_labels(rows, predictions, known, self.competition)
        predictions = final_for_format(self.form, predictions, postprocessing, rows)
        predictions = in_format_order(predictions, rows, self.form)
        _refuse_unwritable(predictions, self.form)
        return predictions

    def labeled_oof(self, workspace: Workspace) -> tuple[LabeledPredictions, bool]:
        """Return the labeled OOF predictions, and whether they have an unbiased score.

        Raises:
            KitError: The folds have changed, or the test predictions come from other models.
        """
        oof = load_oof(self.run)
        if self.test.origin.models != oof.origin.models:
            raise KitError(
                self.run.label,
                "has test and OOF predictions of different models",
                "The CV score must belong to the models that predict the test images",
                f"Run `kit predict {self.run.label}` again, or `kit blend` for a blend.",
                code="models_differ",
            )
        has_score = oof.origin.folds != MIXED_FOLDS
        labeled = (
            load_labeled_oof(self.run, workspace)
            if has_score
            else label_oof(oof, self.config, workspace, any_folds=True)
        )
        labeled = labeled.of_classes(self.form.classes)
        if self.pool is None:
            return labeled, has_score
        return pool_labeled(labeled, self.pool, self.task, self.config.competition.metric), has_score


def _refuse_unwritable(predictions: FinalPredictions, form: SubmissionFormat) -> None:
    """Refuse images without a class in a format that has no cell for them."""
    rows = form.kind.unwritable(predictions, form)
    if len(rows):
        raise KitError(
            "submission",
            f"{counted(len(rows), 'test image gets', 'test images get')} no class "
            f"({first_few([form.images[row] for row in rows])})",
            "The sample has no blank cells, so every image needs a class",
            "Set submission.fallback to a class for such images, submission.blank: true if blanks are "
            "allowed, or `decide: [{name: thresholds, at_least_one: true}]`.",
            code="no_class",
        )
