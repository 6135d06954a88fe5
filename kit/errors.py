"""What the user can fix: one message that says where, what, the rule and the next step."""

from collections.abc import Sequence


class KitError(Exception):
    """A mistake in the input. Shown as one message, never as a traceback.

    Args:
        where: The file, key or argument that is wrong.
        what: What is wrong with it, with the value and the first example.
        rule: What would have been right.
        next_step: What to do now, ideally a command.
    """

    def __init__(self, where: object, what: str, rule: str = "", next_step: str = "") -> None:
        self.where = str(where)
        self.what = what
        self.rule = rule
        self.next_step = next_step
        super().__init__(self._message())

    def _message(self) -> str:
        text = f"{self.where}:"
        for part in filter(None, (self.what, self.rule, self.next_step)):
            text += ("" if text.endswith("\n") else " ") + part
            text += "" if part.endswith((".", "?", "!", "\n")) else "."
        return text.rstrip("\n")

    def as_dict(self) -> dict[str, str]:
        """Return the four parts under the keys that ``--json`` promises."""
        return {"where": self.where, "what": self.what, "rule": self.rule, "next": self.next_step}


def first_few(items: Sequence[object], limit: int = 5) -> str:
    """Return ``"a, b"``, or ``"first 5: a, b, c, d, e"`` where there are more, for use inside a message."""
    shown = ", ".join(str(item) for item in items[:limit])
    if len(items) <= limit:
        return shown
    return f"first {limit}: {shown}"


class Interrupted(Exception):  # noqa: N818 - nothing went wrong
    """The work stopped before its end, cleanly: the same command goes on from there.

    Args:
        message: After what it stopped, and why.
    """
