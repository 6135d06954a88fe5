"""The mistake that kit was made for."""

from dataclasses import replace

from kit.submission_format.kinds import Kind


class Permuted:
    """A writer that numbers the classes as text sorts them: the mistake that the mirror is there to find."""

    def __init__(self, right: Kind) -> None:
        self.right = right

    def __getattr__(self, name):
        return getattr(self.right, name)

    def write(self, answers, form):
        return self.right.write(answers, replace(form, spelled=tuple(sorted(form.classes))))
