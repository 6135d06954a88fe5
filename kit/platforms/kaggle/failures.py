"""Turn what Kaggle answers into one message with the next step, without credentials or signed addresses."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass

from kit.errors import KitError, one_line

SITE = "https://www.kaggle.com"


@dataclass(frozen=True)
class Failure:
    """One way in which Kaggle refuses a request.

    Attributes:
        statuses: HTTP status codes.
        words: Regular expression that the message of the server contains; empty: any message.
        next: The next step; ``{slug}`` is the competition.
    """

    code: str
    statuses: tuple[int, ...]
    words: str
    problem: str
    rule: str
    next: str

    def fits(self, status: int, message: str) -> bool:
        """Return whether an answer is this failure."""
        return status in self.statuses and re.search(self.words, message.lower()) is not None


FAILURES = (  # the first that fits
    Failure(
        "kaggle_rules_not_accepted",
        (401, 403),
        r"\brules?\b",
        "its rules are not accepted yet",
        "Kaggle wants them accepted by hand, once",
        f"Accept them at {SITE}/competitions/{{slug}}/rules, then run the same command.",
    ),
    Failure(
        "kaggle_code_competition",
        (400, 403),
        r"notebook|kernel|code competition",
        "takes submissions from notebooks only",
        "A code competition runs a notebook on hidden test images",
        "`kit bundle RUN --out bundle --push` uploads what such a notebook needs.",
    ),
    Failure(
        "kaggle_daily_limit",
        (400, 403, 429),
        r"submission.*(limit|allowance|per day|today)|(limit|allowance).*submission",
        "has had today's submissions of your team",
        "The day of Kaggle ends at 0:00 UTC",
        "Run the same command tomorrow.",
    ),
    Failure(
        "kaggle_too_many_requests",
        (429,),
        "",
        "got too many requests from this account or address",
        "Kaggle limits requests per minute",
        "Wait a few minutes, then run the same command.",
    ),
    Failure(
        "kaggle_credentials_refused",
        (401,),
        "",
        "Kaggle does not accept these credentials",
        "A token can expire or be revoked",
        f"Make a new token at {SITE}/settings, then run the same command.",
    ),
    Failure(
        "kaggle_not_found",
        (404,),
        "",
        "Kaggle has no such competition, or it no longer takes submissions",
        f"The name is the last part of the address, as in {SITE}/competitions/NAME",
        "Compare it with the address in the browser.",
    ),
    Failure(
        "kaggle_forbidden",
        (403,),
        "",
        "is not open to this account",
        "A competition must be joined; some are private or closed",
        f"Open {SITE}/competitions/{{slug}} and join, then run the same command.",
    ),
    Failure(
        "kaggle_unavailable",
        tuple(range(500, 600)),
        "",
        "Kaggle cannot answer at the moment",
        "The error is on its side",
        "Run the same command later.",
    ),
)


@contextmanager
def kaggle_failures(where: str, slug: str) -> Iterator[io.StringIO]:
    """Raise what the package raises as a ``KitError``; keep its prints off stdout, and its bars off a log.

    Yields:
        What the package prints.

    Raises:
        KitError: Kaggle refuses the request, or cannot be reached.
    """
    import requests

    printed = io.StringIO()
    try:
        with redirect_stdout(printed), nullcontext() if _shows_bars() else redirect_stderr(printed):
            yield printed
    except requests.HTTPError as error:
        status, message = _answer(error)
        raise _failure(where, slug, status, message) from None  # its text holds signed addresses
    except requests.RequestException as error:
        raise KitError(
            where,
            f"cannot reach Kaggle ({type(error).__name__})",
            "This command needs the network",
            "Check the connection; in a Kaggle notebook, turn on Internet in its settings.",
            code="kaggle_unreachable",
        ) from None


def _shows_bars() -> bool:
    """Return whether the package may draw its progress bars, which it does on stderr."""
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ


def _answer(error: Exception) -> tuple[int, str]:
    """Return the status and the message of the server."""
    response = getattr(error, "response", None)
    if response is None:
        return 0, ""
    try:
        message = response.json().get("message") or ""
    except (ValueError, AttributeError):
        message = ""
    return int(response.status_code), one_line(str(message or response.reason or ""), 200)


def _failure(where: str, slug: str, status: int, message: str) -> KitError:
    said = f" (it says: {message})" if message else ""
    for failure in FAILURES:
        if failure.fits(status, message):
            next_step = failure.next.format(slug=slug)
            return KitError(where, failure.problem + said, failure.rule, next_step, code=failure.code)
    return KitError(
        where,
        f"Kaggle refuses the request with status {status}{said}",
        "kit knows no reason for this status",
        "Try the same in the browser.",
        code="kaggle_refused",
    )
