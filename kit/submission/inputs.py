"""What a submission is made from: a run's predictions, and the form that asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kit.competition.samples import Competition, load_competition
from kit.config import Config, PoolConfig
from kit.errors import KitError, first_few
from kit.evaluation.oof_with_labels import Scored, beside_labels, beside_truth
from kit.postprocess.steps import Decision
from kit.predictions import MIXED_FOLDS, FinalPredictions, Predictions, load_predictions
from kit.storage.workspace import RunFolder, SubmissionFile, Workspace
from kit.submission.format import format_for
from kit.submission.leaks import Leak, with_known_labels
from kit.submission.pooling import pooled, pooled_scored, task_of_rows
from kit.submission.round_trip import held_by, in_form
from kit.submission_format.parse import TAB_SUFFIX
from kit.submission_format.spec import SubmissionFormat
from kit.tasks import Task


@dataclass(frozen=True)
class Work:
    """What a submission is made from.

    Attributes:
        task: Of the rows, which differs from the competition's where several images share one.
        test: The predictions of the images to predict.
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
    ) -> Work:
        """Return it, read from a run.

        Args:
            competition: The config's competition if it is loaded already; None loads it.

        Raises:
            KitError: There are no predictions, or the form does not fit the competition.
        """
        if competition is None:
            competition = load_competition(config.competition, workspace)
        form = format_for(config.submission, competition)
        pool = config.submission.pool if config.submission else None
        return cls(
            run, config, competition, form, task_of_rows(pool, competition), load_predictions(run.test)
        )

    @property
    def pool(self) -> PoolConfig | None:
        """How images that share a row are pooled, if they do."""
        return self.config.submission.pool if self.config.submission else None

    def file(self, workspace: Workspace) -> SubmissionFile:
        """Return where the submission goes."""
        suffix = TAB_SUFFIX if self.form.look.delimiter == "\t" else ".csv"
        return workspace.submission(self.run.competition, self.run.name, suffix)

    def answers(self, decision: Decision, known: Sequence[Leak]) -> FinalPredictions:
        """Return what is handed in, in the order of the form's images.

        Args:
            known: Test images whose known label is handed in.

        Raises:
            KitError: An image has no class, and the form has nothing to write for that.
        """
        rows = self.test if self.pool is None else pooled(self.test, self.pool, self.task)
        answers = decision.answers(rows.probs, self.task)
        if known:
            answers = with_known_labels(rows, answers, known, self.competition)
        answers = in_form(held_by(self.form, answers, decision, rows), rows, self.form)
        _refuse_blank(answers, self.form)
        return answers

    def labelled(self, workspace: Workspace) -> tuple[Scored, bool]:
        """Return the OOF rows beside the truth, and whether they have an honest score.

        Raises:
            KitError: The folds have changed, or other models made the test predictions.
        """
        oof = load_predictions(self.run.oof)
        self._refuse_other_models(oof)
        has_score = oof.origin.folds != MIXED_FOLDS
        beside = (
            beside_truth(self.run, workspace) if has_score else beside_labels(oof, self.config, workspace)
        )
        if self.pool is None:
            return beside, has_score
        return pooled_scored(beside, self.pool, self.task, self.config.competition.metric), has_score

    def _refuse_other_models(self, oof: Predictions) -> None:
        if self.test.origin.models != oof.origin.models:
            raise KitError(
                self.run.label,
                "its test predictions come from other models than its OOF predictions",
                "The score must be that of what is handed in",
                f"Run `kit predict {self.run.label}`, or kit blend, again.",
            )


def _refuse_blank(answers: FinalPredictions, form: SubmissionFormat) -> None:
    if form.kind != "labels" or form.blank or form.fallback is not None:
        return
    without = np.flatnonzero(answers.decided.sum(axis=1) == 0)
    if len(without):
        named = first_few([form.images[row] for row in without])
        raise KitError(
            "submission",
            f"{len(without)} test images get no class ({named})",
            "The sample has no blank cell",
            "Set submission.fallback to the class they get, submission.blank: true if blanks are allowed, or "
            "`decide: [{name: thresholds, at_least_one: true}]`.",
        )
