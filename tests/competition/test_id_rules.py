import unicodedata

import pandas as pd
import pytest

from kit.competition.id_rules import ID_RULES, RuleIndex
from kit.competition.images.files import ImageFolder
from kit.competition.infer.config import infer_config
from kit.competition.survey import survey_folder
from tests.conftest import COLORS, draw

ACCENTED = unicodedata.normalize("NFC", "\u00e90.png")


def images(names):
    return {name: f"train/{name}" for name in names} | {f"train/{name}": f"train/{name}" for name in names}


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (["train/a.png", "train/b.png"], ["a.png", "b.png"]),
        (["x\\a.png", "y\\a.png"], ["x/a.png", "y/a.png"]),
        ([ACCENTED], [unicodedata.normalize("NFD", ACCENTED)]),
        ([" a.png", "b.png "], ["a.png", "b.png"]),
        (["C:\\data\\a.png", "C:\\data\\b.png"], ["a.png", "b.png"]),
        (["7", "12"], ["train_00007.png", "train_00012.png"]),
        (["7.0", "12.0"], ["00007.png", "00012.png"]),
        (["10000000000000001", "10000000000000002"], ["x10000000000000001.png", "x10000000000000002.png"]),
    ],
)
def test_ids_meet_their_images_by_one_rule(ids, names):
    found, _ = RuleIndex(images(names)).find(ids)
    assert found == [f"train/{name}" for name in names]


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (["q0", "q1"], ["0.png", "1.png"]),  # a number counts only if it is the whole id
        (["0", "1"], ["0_1.png", "1_0.png"]),  # two numbers in a name
        (["a.png", "c.png"], ["a.png", "b.png"]),
        (["x/a.png", "y/a.png"], ["a.png", "b.png"]),  # two ids of one image
    ],
)
def test_ids_that_no_rule_explains_meet_no_image(ids, names):
    assert RuleIndex(images(names)).find(ids) is None


def test_every_rule_has_a_name_that_reads_in_a_sentence():
    assert len({rule.name for rule in ID_RULES}) == len(ID_RULES)
    assert all(rule.name[0].islower() for rule in ID_RULES)


def test_a_rule_is_named_by_init_and_used_when_the_images_are_read(tmp_path):
    for i in range(6):
        draw(tmp_path / "train" / f"img_{i:04d}.png", COLORS["red"], i)
        draw(tmp_path / "test" / f"img_{100 + i:04d}.png", COLORS["red"], 50 + i)
    table = pd.DataFrame({"id": range(6), "label": list("aabbab")})
    table.to_csv(tmp_path / "train.csv", index=False)
    because = {f.key: f.because for f in infer_config(survey_folder(tmp_path), "c", "c")}
    assert "only number" in because["competition.train.id"]
    folder = ImageFolder.open(tmp_path, "train", "name")
    assert folder.find(pd.Series(["5", "0"]), tmp_path / "train.csv") == [
        "train/img_0005.png",
        "train/img_0000.png",
    ]


def test_a_short_list_of_numbers_is_no_list_of_images(tmp_path):
    for i in range(12):
        draw(tmp_path / "train" / ("cat", "dog")[i % 2] / f"img_{i:04d}.png", COLORS["red"], i)
    pd.DataFrame({"class_id": [0, 1], "name": ["cat", "dog"]}).to_csv(tmp_path / "names.csv", index=False)
    values = {f.key: f.value for f in infer_config(survey_folder(tmp_path), "c", "c")}
    assert values["competition.train.layout"] == "class_folders"
