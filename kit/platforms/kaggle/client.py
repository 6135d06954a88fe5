"""The few calls of the package ``kaggle`` that kit needs."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kit.errors import KitError
from kit.platforms.kaggle.failures import SITE, kaggle_failures
from kit.runtime.extras import require_extra

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LISTED = 100  # submissions asked for, newest first


@dataclass(frozen=True)
class SubmissionState:
    """What Kaggle says of a submission.

    Attributes:
        public: Score on the public leaderboard; None while it is not shown.
        private: Score on the private leaderboard; None before the competition ends.
        error: Why it could not be scored.
    """

    status: Literal["pending", "complete", "error"]
    public: float | None = None
    private: float | None = None
    error: str = ""


@dataclass(frozen=True)
class KaggleClient:
    """The API of Kaggle, with the credentials of the package."""

    api: Any
    command: str

    @classmethod
    def open(cls, command: str) -> KaggleClient:
        """Return a client.

        Args:
            command: The command that needs it, for messages.

        Raises:
            KitError: The package is missing, or finds no valid credentials.
        """
        with kaggle_failures(command, ""):
            return cls(_authenticated(command), command)

    @property
    def user(self) -> str:
        """The name of the account."""
        return str(self.api.config_values[self.api.CONFIG_NAME_USER])

    def download(self, slug: str, folder: Path) -> Path:
        """Download all files of a competition into a folder, as one archive; a cut download is continued.

        Raises:
            KitError: Kaggle refuses.
        """
        with kaggle_failures(slug, slug):
            self.api.competition_download_files(slug, path=str(folder), quiet=False)
        found = [path for path in folder.glob(f"{slug}.*") if path.is_file()]
        archives = [path for path in found if not path.name.endswith(".kaggle-partial")]
        if len(archives) != 1:
            raise KitError(
                slug,
                "Kaggle sent no archive",
                "All files of a competition come as one",
                f"Download them at {SITE}/competitions/{slug}/data, then `kit init ARCHIVE`.",
                code="kaggle_no_archive",
            )
        return archives[0]

    def submit(self, slug: str, file: Path, message: str) -> int:
        """Upload a submission; return its number at Kaggle.

        Raises:
            KitError: Kaggle refuses, or the upload was cut: nothing was submitted.
        """
        with kaggle_failures(slug, slug) as printed:
            answer = self.api.competition_submit(str(file), message, slug, quiet=False)
        if not answer.ref:
            raise KitError(
                slug,
                f"{file.name} was not submitted ({printed.getvalue().strip()[:200] or answer.message})",
                "The upload did not finish",
                "Run the same command again.",
                code="kaggle_upload_failed",
            )
        return int(answer.ref)

    def state_of(self, slug: str, number: int) -> SubmissionState:
        """Return what Kaggle says of a submission; pending if it does not list it yet.

        Raises:
            KitError: Kaggle refuses.
        """
        with kaggle_failures(slug, slug):
            listed = self.api.competition_submissions(slug, page_size=LISTED) or []
        for each in listed:
            if each is not None and each.ref == number:
                return SubmissionState(
                    status=_status(each.status.name),
                    public=_score(each.public_score),
                    private=_score(each.private_score),
                    error=(each.error_description or "").strip(),
                )
        return SubmissionState("pending")


def competition_slug(given: str) -> str:
    """Return the name of a competition in addresses: itself, or the part of an address.

    Raises:
        KitError: It cannot be one.
    """
    slug = re.sub(r"^https?://(www\.)?kaggle\.com/(competitions|c)/", "", given.strip()).split("/")[0]
    if not SLUG.fullmatch(slug):
        raise KitError(
            given,
            "is not a competition of Kaggle",
            f"The name is the last part of the address, as in {SITE}/competitions/NAME",
            "Copy it from the browser.",
            code="kaggle_slug_invalid",
        )
    return slug


def _authenticated(command: str) -> Any:
    """Return the package's API with credentials; importing it prints help and exits without any."""
    require_extra(command, "kit[kaggle]", "kaggle", why="kit talks to Kaggle through its official package")
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            from kaggle.api.kaggle_api_extended import KaggleApi

            api = KaggleApi()
            api.authenticate()
    except SystemExit:
        raise KitError(
            command,
            "finds no valid credentials of Kaggle",
            "The package kaggle looks at KAGGLE_API_TOKEN, ~/.kaggle/access_token and ~/.kaggle/kaggle.json",
            f"Make a token at {SITE}/settings, and store it as the page says.",
            code="kaggle_no_credentials",
        ) from None
    return api


def _status(name: str) -> Literal["pending", "complete", "error"]:
    """Return Kaggle's status of a submission; any other than complete and error is pending."""
    if name == "COMPLETE":
        return "complete"
    return "error" if name == "ERROR" else "pending"


def _score(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
