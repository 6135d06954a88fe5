"""The mistake that kit exists to prevent."""

from dataclasses import replace

from kit.submission_format.spec import SubmissionKind


class Permuted:
    """A kind that numbers classes in text order; the round-trip check must find it."""

    def __init__(self, right: SubmissionKind) -> None:
        self.right = right

    def __getattr__(self, name):
        return getattr(self.right, name)

    def write(self, predictions, form):
        return self.right.write(predictions, replace(form, spelled=tuple(sorted(form.classes))))
