"""The record of a bundle, ``bundle.json``: what it predicts and how, and the digest of every file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from kit.errors import KitError, counted, first_few
from kit.storage.files import checksum
from kit.storage.provenance import Identity, read_artifact, write_artifact

NAME = "bundle.json"
TUPLES = ("classes", "prior", "header", "placeholder")  # which JSON returns as lists
CHECKED = ("runs", "folds", "sample", "wheels", "onnx")  # folders that hold only files of the record


@dataclass(frozen=True)
class BundleRecord:
    """What a bundle predicts, and how.

    Attributes:
        run: ``<competition>/<name>`` of the experiment or blend.
        kit: The version of kit.
        platform: The platform that it was made for.
        data: The name of the competition's folder.
        classes: The classes of the predictions, in order.
        prior: The prediction for an unreadable image, one number per class.
        postprocessing: The fitted steps, as ``Postprocessing.as_list`` returns them.
        kind: The kind of the submission.
        header: The columns of the submission.
        placeholder: The ids of the submission that the sample lists.
        ids_from_folder: Whether the names of the test images give these ids, so that a list is not needed.
        time_limit: The time limit of a prediction, such as ``8h30m``; None: no limit.
    """

    run: str
    kit: str
    platform: str
    data: str
    classes: tuple[str, ...]
    prior: tuple[float, ...]
    postprocessing: list[dict[str, Any]]
    kind: str
    header: tuple[str, ...]
    placeholder: tuple[str, ...]
    ids_from_folder: bool
    time_limit: str | None

    def write(self, bundle: Path) -> None:
        """Write the record of a complete bundle, with the digests of its files."""
        digests = {name: checksum(bundle / name) for name in sorted(_files(bundle))}
        write_artifact(bundle / NAME, asdict(self), Identity(self.run, "bundle"), digests)


def _files(bundle: Path) -> Iterator[str]:
    """Yield the files of a bundle but its record, relative to it."""
    for path in bundle.rglob("*"):
        if path.is_file() and path.name != NAME:
            yield path.relative_to(bundle).as_posix()


def read_record(bundle: Path) -> BundleRecord:
    """Return the record of a bundle, after comparing every file with its digest.

    Raises:
        KitError: The folder is no bundle (``bundle_foreign``), or a file is missing, damaged, replaced or
            added (``bundle_damaged``).
    """
    renew = "kit bundle RUN --out FOLDER"
    path = bundle / NAME
    if not path.is_file():
        raise _foreign(bundle, f"holds no {NAME}", renew)
    values, provenance = read_artifact(path, None, renew)
    if provenance.identity.kind != "bundle":
        raise _foreign(path, f"is {provenance.identity}", renew)
    problems = list(_problems(bundle, provenance.inputs))
    if problems:
        raise KitError(
            bundle,
            f"{counted(len(problems), 'file is', 'files are')} damaged, missing or foreign "
            f"({first_few(problems)})",
            f"A bundle is used as kit wrote it: {NAME} holds the digest of every file",
            f"Upload it again, or make it again: `{renew}`.",
            code="bundle_damaged",
        )
    try:
        named: dict[str, Any] = {each.name: values[each.name] for each in fields(BundleRecord)}
        return BundleRecord(**named | {name: tuple(named[name]) for name in TUPLES})
    except (KeyError, TypeError) as error:
        raise _foreign(path, "is of another version of kit", renew) from error


def _problems(bundle: Path, digests: Any) -> Iterator[str]:
    for name, digest in digests.items():
        file = bundle / name
        if not file.is_file():
            yield f"{name} is missing"
        elif checksum(file) != digest:
            yield f"{name} has changed"
    for name in sorted(_files(bundle)):
        if name.split("/")[0] in CHECKED and name not in digests:
            yield f"{name} is not part of it"


def _foreign(where: Path, problem: str, renew: str) -> KitError:
    return KitError(
        where,
        problem,
        "A bundle is a folder that kit bundle wrote",
        f"Make it: `{renew}`.",
        code="bundle_foreign",
    )
