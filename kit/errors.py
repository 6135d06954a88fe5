"""The one error type for mistakes that the user can fix: where, what is wrong, the rule, the next step."""

from collections.abc import Sequence
from typing import Any

JOINER = "\u200d"  # joins emoji; other invisible characters may turn or end a line


class KitError(Exception):
    """A mistake that the user can fix, shown as one message without a traceback.

    Args:
        where: The file, config key or argument that is wrong.
        problem: What is wrong with it, with the value and the first example.
        rule: What would be right.
        next: What to do now, ideally a command.
        code: A stable name of this kind of mistake, such as ``ids_missing``. Tests and scripts match it;
            the sentences may change.
    """

    def __init__(self, where: object, problem: str, rule: str = "", next: str = "", *, code: str) -> None:
        self.where = str(where)
        self.problem = problem
        self.rule = rule
        self.next = next
        self.code = code
        super().__init__(self._message())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the fields: an error crosses processes."""
        return _error_of, (self.as_dict(),)

    def _message(self) -> str:
        text = f"{self.where}:"
        for part in filter(None, (self.problem, self.rule, self.next)):
            text += ("" if text.endswith("\n") else " ") + part
            text += "" if part.endswith((".", "?", "!", "\n")) else "."
        return text.rstrip("\n")

    def as_dict(self) -> dict[str, str]:
        """Return the error as ``--json`` prints it: ``code where problem rule next``."""
        return {
            "code": self.code,
            "where": self.where,
            "problem": self.problem,
            "rule": self.rule,
            "next": self.next,
        }


def _error_of(fields: dict[str, str]) -> KitError:
    return KitError(**fields)


def raise_mistakes(where: object, mistakes: Sequence[KitError], problem: str = "") -> None:
    """Raise the mistakes as one error: a single one as it is, several as a list. No mistakes, no error.

    Args:
        where: Where all of them are.
        problem: What is wrong, in place of ``3 mistakes``.
    """
    if len(mistakes) == 1:
        raise mistakes[0]
    if mistakes:
        listed = "".join(f"\n  - {mistake}" for mistake in mistakes)
        raise KitError(where, f"{problem or f'{len(mistakes)} mistakes'}:{listed}\n", code="several_mistakes")


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number with its noun, and with the verb that the texts include: both agree with the number.

    Args:
        one: What follows 1, such as ``file`` or ``id has``.
        many: What follows other numbers, such as ``ids have``; by default ``one`` with an s.

    >>> counted(1, "class", "classes"), counted(2000, "file")
    ('1 class', '2000 files')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def counted_of(part: int, whole: int, noun: str, one: str, many: str) -> str:
    """Return a part of a number: the noun agrees with the whole, the verb with the part.

    >>> counted_of(1, 8, "image", "is", "are")
    '1 of 8 images is'
    """
    return f"{part} of {counted(whole, noun)} {one if part == 1 else many}"


def one_line(text: str, limit: int | None = None) -> str:
    r"""Return text for one line of a table or message: control characters are escaped, a long end is cut.

    >>> one_line("night\nrain"), one_line("abcdef", limit=4)
    ('night\\nrain', 'abc…')
    """
    text = "".join(c if c.isprintable() or c == JOINER else ascii(c)[1:-1] for c in text)
    return text if limit is None or len(text) <= limit else f"{text[: limit - 1]}…"


def first_few(items: Sequence[object], limit: int = 5) -> str:
    """Return ``"a, b"``, or ``"first 5: a, b, c, d, e"`` if there are more items, for use in a message."""
    shown = ", ".join(one_line(str(item)) for item in items[:limit])
    if len(items) <= limit:
        return shown
    return f"first {limit}: {shown}"


class Interrupted(Exception):  # noqa: N818 - an interruption is not an error
    """The command stopped early and saved its work; running it again resumes.

    Args:
        message: What was done last, and why it stopped.
    """
