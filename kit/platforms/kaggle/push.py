"""Upload a bundle to Kaggle as a private dataset, for notebooks without network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from kit.errors import KitError, one_line
from kit.platforms.kaggle.client import KaggleClient
from kit.platforms.kaggle.failures import SITE, kaggle_failures
from kit.storage.files import write_json

METADATA = "dataset-metadata.json"  # the package reads it, and uploads all other files
UNSUCCESSFUL = "Upload unsuccessful"  # printed by package versions before 2.2, which go on without the file
SHORTEST, LONGEST = 6, 50  # characters of a dataset's name


def push_dataset(client: KaggleClient, folder: Path, name: str) -> str:
    """Upload a folder as a private dataset, or as the next version of it; return its address.

    Args:
        name: What the dataset is called, before characters that Kaggle does not allow are replaced.

    Raises:
        KitError: Kaggle refuses, or the upload was cut.
    """
    dataset = f"{client.user}/{dataset_slug(name)}"
    title = dataset.split("/")[1]
    write_json(folder / METADATA, {"id": dataset, "title": title, "licenses": [{"name": "unknown"}]})
    try:
        with kaggle_failures(dataset, "") as printed:
            problem = _problem(_upload(client.api, folder, dataset))
    except ValueError as error:  # a file could not be uploaded
        problem = str(error)
    finally:
        (folder / METADATA).unlink()
    if problem or UNSUCCESSFUL in printed.getvalue():
        raise KitError(
            dataset,
            f"was not uploaded ({one_line(problem or printed.getvalue(), 200)})",
            "The bundle itself is complete",
            f"Run the same command again, or upload {folder} at {SITE}/datasets.",
            code="kaggle_upload_failed",
        )
    return f"{SITE}/datasets/{dataset}"


def dataset_slug(name: str) -> str:
    """Return a name that Kaggle allows: 6 to 50 lower-case letters, digits and hyphens.

    >>> dataset_slug("leaves/First_run")
    'kit-leaves-first-run'
    """
    slug = "kit-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return slug[:LONGEST].strip("-").ljust(SHORTEST, "0")


def _upload(api: Any, folder: Path, dataset: str) -> Any:
    """Upload a folder whose subfolders become archives, which Kaggle unpacks."""
    if _exists(api, dataset):
        return api.dataset_create_version(str(folder), "kit bundle", dir_mode="zip")
    return api.dataset_create_new(str(folder), convert_to_csv=False, dir_mode="zip")


def _problem(answer: Any) -> str:
    """Return why Kaggle made no dataset of what was uploaded; empty if it did."""
    if answer.error or str(answer.status).lower() not in ("", "ok"):
        return str(answer.error or f"status {answer.status}")
    return ""


def _exists(api: Any, dataset: str) -> bool:
    import requests

    try:
        api.dataset_status(dataset)
    except requests.HTTPError as error:
        if error.response is not None and error.response.status_code in (
            403,
            404,
        ):  # 403: not there, or not ours
            return False
        raise
    return True
