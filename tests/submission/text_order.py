"""A submission kind with a mistake: it numbers classes in text order."""

from dataclasses import replace

from kit.submission_format.spec import SubmissionKind


class TextOrderKind:
    """A kind that writes class names in text order; the round-trip check must find the mistake."""

    def __init__(self, kind: SubmissionKind) -> None:
        self.kind = kind

    def __getattr__(self, name):
        return getattr(self.kind, name)

    def write(self, predictions, form):
        return self.kind.write(predictions, replace(form, spelled=tuple(sorted(form.classes))))
