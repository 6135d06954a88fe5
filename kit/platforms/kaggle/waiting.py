"""Wait until Kaggle has scored a submission."""

from __future__ import annotations

import time

from kit.errors import KitError
from kit.platforms.kaggle.client import KaggleClient, SubmissionState
from kit.runtime.deadline import Deadline
from kit.runtime.progress import Progress

FIRST_PAUSE, LONGEST_PAUSE, PAUSE_FACTOR = 3.0, 60.0, 1.5  # seconds between two questions


def wait_for_score(
    client: KaggleClient, slug: str, number: int, deadline: Deadline, progress: Progress
) -> SubmissionState:
    """Return the state of a submission once it is scored, asking less and less often.

    Raises:
        Interrupted: The deadline has passed; the submission stays at Kaggle.
        KitError: Kaggle could not score the file.
    """
    pause = FIRST_PAUSE
    state = client.state_of(slug, number)
    while state.status == "pending":
        deadline.begin("the score of the submission is known", needed=pause)
        progress.note(f"submission {number} is not scored yet; asking again in {pause:.0f} s")
        time.sleep(pause)
        pause = min(LONGEST_PAUSE, PAUSE_FACTOR * pause)
        state = client.state_of(slug, number)
    if state.status == "error":
        raise KitError(
            slug,
            f"Kaggle could not score submission {number} ({state.error or 'it gives no reason'})",
            "A file that `kit check` accepts can still differ from what the competition wants",
            "Compare it with the competition's page on evaluation.",
            code="kaggle_scoring_failed",
        )
    return state
