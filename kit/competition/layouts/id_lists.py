"""The layout ``id_lists``: one text file of ids per class."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath

import pandas as pd
from pydantic import field_validator

from kit.competition.images.files import ImageFolder, image_id
from kit.competition.layouts.base import (
    Detection,
    Finding,
    Hints,
    LabeledImages,
    LabeledPart,
    Layout,
    images_table,
    register_layout,
    with_classes,
)
from kit.competition.survey import Survey
from kit.competition.words import has_role
from kit.config import CompetitionConfig, LabeledSource
from kit.errors import KitError, counted, counted_of, first_few
from kit.natural import natural_key


class IdLists(LabeledSource):
    """Images with any number of classes: one file of ids per class, ``<lists>/<class>.txt``."""

    folder: str = "images"
    """The folder of the images."""
    lists: str = "annotations"
    """The folder of the files of ids."""
    pattern: str = "{id}.jpg"
    """The file name of an image, with its id as ``{id}``."""

    @field_validator("pattern")
    @classmethod
    def _has_one_placeholder(cls, pattern: str) -> str:
        if pattern.count("{id}") != 1:
            raise ValueError("must be the file name of an image with {id} once, such as im{id}.jpg")
        return pattern


@register_layout("id_lists")
class IdListsLayout(Layout[IdLists]):
    """Read and detect files of ids; images that no file names are unlisted."""

    description = "one text file of image ids per class"
    section = IdLists

    def read(self, root: Path, source: IdLists, config: CompetitionConfig) -> LabeledImages:
        """Return ``id path`` and one 0/1 column per file of ids."""
        folder = root / source.lists
        files = sorted(folder.glob("*.txt"), key=lambda p: natural_key(p.name)) if folder.is_dir() else []
        if not files:
            rule = "It should hold one file per class, <class>.txt, with one id per line"
            raise KitError(folder, "has no file of ids", rule, code="no_id_lists")
        lists = {file.stem: file.read_text(encoding="utf-8-sig").split() for file in files}
        twice = [f"{i} of {name}" for name, ids in lists.items() for i, n in Counter(ids).items() if n > 1]
        if twice:
            problem = f"{counted(len(twice), 'id occurs', 'ids occur')} more than once ({first_few(twice)})"
            raise KitError(folder, problem, "A file names each id once", code="ids_duplicate")
        paths = _paths_by_id(root, source)
        missing = [f"{i} of {name}" for name, ids in lists.items() for i in ids if i not in paths]
        if missing:
            raise KitError(
                folder,
                f"{counted(len(missing), 'id has', 'ids have')} no image {source.pattern} in "
                f"{source.folder}/ "
                f"({first_few(missing)})",
                "Every id needs an image",
                "Add the images, remove the ids, or set competition.train.pattern.",
                code="image_missing",
            )
        named = sorted({i for ids in lists.values() for i in ids}, key=natural_key)
        samples = images_table({i: paths[i] for i in named})
        block = {name: samples["id"].isin(set(ids)).astype("int8") for name, ids in lists.items()}
        samples = with_classes(samples, pd.DataFrame(block), folder)
        listed = set(named)
        return LabeledImages(samples, images_table({i: p for i, p in paths.items() if i not in listed}))

    def detect(self, survey: Survey, hints: Hints) -> Detection | None:
        """Detect a folder of text files that list ids, and the images with those ids."""
        for folder, names in survey.lists.items():
            lists = {name: _ids_in(survey.root / folder / f"{name}.txt") for name in names}
            if len(lists) < 2 or not all(lists.values()):
                continue
            listed = {i for ids in lists.values() for i in ids}
            found = _image_pattern(survey, listed)
            if found is not None:
                for_test = _listed_for_test(survey, found[0])
                return self._detection(folder, {n: set(ids) for n, ids in lists.items()}, *found, for_test)
        return None

    def _detection(
        self,
        lists: str,
        classes: dict[str, set[str]],
        folder: str,
        pattern: str,
        ids: set[str],
        for_test: set[str],
    ) -> Detection:
        named = sorted(set().union(*classes.values()), key=natural_key)
        columns = {n: [int(i in classes[n]) for i in named] for n in sorted(classes, key=natural_key)}
        source = [
            Finding(
                "layout",
                self.name,
                f"{counted(len(classes), 'file')} such as {lists}/{min(classes)}.txt list ids",
            ),
            Finding("folder", folder, f"{counted(len(ids), 'image')} named like {pattern}"),
            Finding("lists", lists, f"name {counted(len(named), 'image')}"),
            Finding("pattern", pattern, f"{pattern.replace('{id}', named[0])} is the image of id {named[0]}"),
        ]
        others = {pattern.replace("{id}", each) for each in ids - set(named)}
        unlisted = len({name for name in others if not {name, image_id(name, "stem")} & for_test})
        remark = Finding(
            "competition.unlisted",
            "refuse",
            f"{counted_of(unlisted, len(ids), 'image', 'is', 'are')} in no list: set negative if they "
            "have none of the classes, "
            "unlabelled if their classes are unknown, or ignore",
        )
        part = LabeledPart(source, folder, pd.DataFrame(columns))
        return Detection(part, remarks=[remark] if unlisted else [])


def _paths_by_id(root: Path, source: IdLists) -> dict[str, str]:
    """Return id -> path of the images whose file name matches the pattern."""
    before, after = (re.escape(part) for part in source.pattern.split("{id}"))
    pattern = re.compile(f"{before}(.+){after}")
    images = ImageFolder.open(root, source.folder, "name")
    matches = ((pattern.fullmatch(PurePosixPath(name).name), path) for name, path in images.paths.items())
    return {match[1]: path for match, path in matches if match}


def _ids_in(path: Path) -> list[str]:
    """Return the ids of a file with one number per line, or nothing if it holds something else."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        return []
    return lines if all(line.isdecimal() for line in lines) else []


def _listed_for_test(survey: Survey, folder: str) -> set[str]:
    """Return the ids of a folder's images that a table of test images or a sample lists."""
    tables = [
        t for t in survey.tables if t.folder == folder and has_role(t.name, "test", "sample", "submission")
    ]
    return {each for table in tables for each in table.cells[table.id]}


def _image_pattern(survey: Survey, ids: set[str]) -> tuple[str, str, set[str]] | None:
    """Return the folder and file-name pattern that match most ids, and the ids of its images."""
    best: tuple[int, str, str, set[str]] = (0, "", "", set())
    for folder, images in survey.images.items():
        numbered = [re.fullmatch(r"(\D*)(\d+)(\D*)", PurePosixPath(name).name) for name in images]
        by_pattern: dict[str, set[str]] = {}
        for match in filter(None, numbered):
            by_pattern.setdefault(f"{match[1]}{{id}}{match[3]}", set()).add(match[2])
        for pattern, numbers in by_pattern.items():
            if (hits := len(ids & numbers)) > best[0]:
                best = (hits, folder, pattern, numbers)
    hits, folder, pattern, found = best
    return (folder, pattern, found) if hits > len(ids) / 2 else None
