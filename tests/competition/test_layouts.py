"""Each layout is read from a generated folder; contradictions are refused."""

import pandas as pd
import pytest
from PIL import Image
from pydantic import ValidationError

from kit.competition.images.files import ImageFolder
from kit.competition.layouts import LabeledImages, Layout, layouts, register_layout
from kit.competition.layouts.base import images_table
from kit.competition.samples import load_competition
from kit.config import CompetitionConfig, LabeledSource
from kit.config.competition import layout_sections
from kit.storage.workspace import Workspace
from tests.conftest import (
    COLORS,
    annotation,
    draw,
    draw_class_folders,
    draw_csv,
    draw_id_lists,
    draw_voc,
    raises_kit_error,
)


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data" / "c"
    root.mkdir(parents=True)
    return root


def load(root, train, task="multiclass", test=None, **more):
    values = {
        "name": "c",
        "data": str(root),
        "task": task,
        "metric": "f1_macro",
        "train": train,
        "test": test,
    }
    return load_competition(CompetitionConfig.model_validate(values | more), Workspace.open(root.parents[1]))


def assert_refused(code, fact, *arguments, **options):
    """Load, expect an error with this code and fact, and return it."""
    with raises_kit_error(code) as caught:
        load(*arguments, **options)
    assert fact in caught.value.problem
    return caught.value


VOC = {"layout": "voc"}
TRAINVAL = VOC | {"set": "ImageSets/Main/trainval.txt"}
HELD_OUT = {"test": VOC | {"set": "ImageSets/Main/test.txt"}}


# --- tables


def table(data, text, name="train.csv", encoding="utf-8"):
    (data / name).write_bytes(text.encode(encoding))
    return {"layout": "csv", "file": name, "id": "id", "label": "label"}


def draw_images(data, *names, folder="train"):
    for i, name in enumerate(names):
        draw(data / folder / name, COLORS["red"], seed=i)


def test_tables_with_bom_crlf_and_quotes_are_read(data):
    draw_images(data, "a, b.png", "007.png")
    found = load(data, table(data, '\ufeffid,label\r\n"a, b.png","x ""y"""\r\n007.png,2\r\n'))
    assert found.train[["id", "label"]].to_numpy().tolist() == [["a, b.png", 'x "y"'], ["007.png", "2"]]


@pytest.mark.parametrize("delimiter", ["\t", ";"])
def test_tables_with_tabs_or_semicolons_are_read(data, delimiter):
    draw_images(data, "1.png", "2.png")
    text = "id,label\n1.png,a\n2.png,b\n".replace(",", delimiter)
    assert load(data, table(data, text)).classes == ("a", "b")


def test_spaces_after_delimiters_are_removed(data):
    draw_images(data, "1.png", "2.png")
    assert load(data, table(data, "id, label\n1.png, a\n2.png, b\n")).classes == ("a", "b")


def test_ids_match_with_or_without_folders_and_with_any_case_of_the_suffix(data):
    draw_images(data, "x/001.png", "y/002.PNG", "y/003.png")
    found = load(data, table(data, "id,label\nx/001.png,a\n002.png,b\n003.png,a\n"))
    assert found.train["path"].tolist() == ["train/x/001.png", "train/y/002.PNG", "train/y/003.png"]
    assert found.train["id"].tolist() == ["x/001.png", "002.png", "003.png"]


def test_an_ambiguous_id_matches_no_image(data):
    draw_images(data, "x/1.png", "y/1.png", "2.png")
    source = table(data, "id,label\n1.png,a\n2.png,b\n")
    assert_refused("image_missing", "(1.png)", data, source, unlisted="ignore")


def test_cells_with_several_labels_are_split(data):
    draw_images(data, *(f"{i}.png" for i in range(4)))
    source = table(data, "id,label\n0.png,scab rust\n1.png,rust\n2.png,\n3.png,scab  rust\n") | {
        "separator": " "
    }
    found = load(data, source, "multilabel")
    assert found.classes == ("rust", "scab")
    assert found.train[["rust", "scab"]].to_numpy().tolist() == [[1, 1], [1, 0], [0, 0], [1, 1]]


def test_one_hot_columns_are_one_label_for_exclusive_classes(data):
    draw_images(data, "0.png", "1.png")
    source = table(data, "id,age,cat,dog\n0.png,3,1,0\n1.png,4,0,1\n") | {"label": ["cat", "dog"]}
    assert load(data, source, "binary").train["label"].tolist() == ["cat", "dog"]
    source = table(data, "id,age,cat,dog\n0.png,3,1,1\n1.png,4,0,1\n") | {"label": ["cat", "dog"]}
    assert_refused("labels_do_not_suit_task", "(0.png)", data, source, "binary")


def test_blank_labels_are_refused_or_mean_unlabeled(data):
    draw_images(data, *(f"{i}.png" for i in range(3)))
    source = table(data, "id,label\n0.png,a\n1.png,\n2.png,b\n")
    caught = assert_refused("cells_blank", "(lines 3)", data, source)
    assert "competition.blank: unlabelled" in caught.next
    found = load(data, source, blank="unlabelled")
    assert found.train["label"].tolist() == ["a", "", "b"]
    assert found.class_counts().to_dict() == {"a": 1, "b": 1}


def test_rows_of_minus_one_are_unlabeled(data):
    draw_images(data, *(f"{i}.png" for i in range(3)))
    source = table(data, "id,x,y\n0.png,1,0\n1.png,-1,-1\n2.png,0,1\n") | {"label": ["x", "y"]}
    caught = assert_refused("label_invalid", "line 3", data, source, "multilabel")
    assert "competition.blank: unlabelled" in caught.next
    found = load(data, source, "multilabel", blank="unlabelled")
    assert len(found.labeled) == 2
    assert len(found.train) == 3


@pytest.mark.parametrize(
    ("text", "code", "fact"),
    [
        ("id,label\n1.png,a\n1.png,b\n", "ids_duplicate", "(1.png)"),
        ("id,label\n1.png,a\nx/1.png,b\n2.png,b\n", "ids_ambiguous", "(train/x/1.png)"),
        ("id,label\n2.png,cat\nx/1.png,Cat\n", "case_differs", "2 names"),
        ("id,label,label\n2.png,a,b\n", "duplicate_columns", "(label)"),
        ("id,label\n2.png,a\nx/1.png,id\n", "class_name_reserved", "'id'"),
    ],
)
def test_contradictory_tables_are_refused(data, text, code, fact):
    draw_images(data, "x/1.png", "2.png")
    if "1.png,a\n1.png" in text:
        draw_images(data, "1.png")
    assert_refused(code, fact, data, table(data, text), unlisted="ignore")


def test_ids_that_differ_only_in_case_are_refused_unless_declared_distinct(data):
    draw_images(data, "a1.png", "A1.png", "b.png")
    source = table(data, "id,label\na1.png,x\nA1.png,y\nb.png,x\n")
    assert_refused("case_differs", "2 names", data, source)
    assert len(load(data, source, case="distinct").train) == 3


def test_a_table_that_is_not_utf8_is_refused(data):
    draw_images(data, "1.png", "2.png")
    source = table(data, "id,label\n1.png,caf\xe9\n2.png,b\n", encoding="latin-1")
    assert_refused("not_utf8", "byte 18", data, source)
    assert_refused("not_utf8", "UTF-16", data, table(data, "id,label\n1.png,a\n", encoding="utf-16"))


def test_a_table_that_contradicts_class_folders_is_refused(data):
    draw_images(data, "cat/1.png", "cat/2.png", "dog/3.png")
    source = table(data, "id,label\ncat/1.png,cat\ncat/2.png,dog\ndog/3.png,dog\n")
    assert_refused("labels_contradict", "(train/cat/2.png is 'dog')", data, source)


def test_a_class_with_a_reserved_name_is_refused(data):
    draw_images(data, "1.png", "2.png")
    source = table(data, "id,fold,y\n1.png,1,0\n2.png,0,1\n") | {"label": ["fold", "y"]}
    assert_refused("class_name_reserved", "(fold)", data, source, "multilabel")


def test_columns_of_groups_and_folds_are_read(data):
    draw_images(data, "1.png", "2.png")
    source = table(data, "id,label,who,part\n1.png,a,p,1\n2.png,b,q,2\n") | {"group": "who", "fold": "part"}
    found = load(data, source).train
    assert found[["group", "given_fold"]].to_numpy().tolist() == [["p", "1"], ["q", "2"]]


def test_groups_are_extracted_from_ids_with_a_pattern(data):
    draw_class_folders(data, per_class=4)
    source = {"layout": "class_folders"}
    found = load(data, source, group_pattern=r"/(\d)").train
    assert set(found["group"]) == {"0", "1", "2", "3"}
    assert_refused("pattern_mismatch", "12 ids (first 5: 2/0.png", data, source, group_pattern=r"(patient\d)")


# --- further sources


def test_held_out_and_extra_images_are_read(data):
    draw_class_folders(data)
    draw(data / "val" / "red" / "0.png", COLORS["red"], 501)
    draw(data / "more" / "2" / "0.png", COLORS["2"], 502)
    folders = {"layout": "class_folders"}
    found = load(
        data, folders, held_out={"val": folders | {"folder": "val"}}, extra=[folders | {"folder": "more"}]
    )
    assert found.held_out["val"]["id"].tolist() == ["red/0.png"]
    assert found.train[found.train["source"] == "extra"]["id"].tolist() == ["more/2/0.png"]
    assert len(found.train) == 31


def test_a_held_out_set_with_other_classes_or_training_images_is_refused(data):
    draw_class_folders(data)
    draw(data / "val" / "blue" / "0.png", COLORS["red"], 501)
    folders = {"layout": "class_folders"}
    val = {"val": folders | {"folder": "val"}}
    assert_refused("classes_differ", "(blue)", data, folders, held_out=val)
    caught = assert_refused("held_out_overlap", "30 of its images", data, folders, held_out={"same": folders})
    assert caught.where == "competition.held_out.same"


def test_pseudo_labels_are_extra_images_of_the_test_folder(data):
    draw_csv(data)
    (data / "pseudo.csv").write_text("Image,target\n900.png,red\n")
    source = {"layout": "csv", "file": "train.csv", "id": "Image", "label": "target"}
    test = {"folder": "test", "file": "test.csv", "id": "Image"}
    found = load(data, source, test=test, extra=[source | {"folder": "test", "file": "pseudo.csv"}])
    assert found.train.iloc[-1][["id", "label", "source"]].tolist() == ["test/900.png", "red", "extra"]


# --- files of ids


def test_id_lists_are_read_and_unlisted_images_treated_as_configured(data):
    draw_id_lists(data)
    source = {"layout": "id_lists", "pattern": "im{id}.jpg"}
    caught = assert_refused("images_unlisted", "images/im11.jpg, images/im12.jpg", data, source, "multilabel")
    assert "negative" in caught.next
    found = load(data, source, "multilabel", unlisted="negative")
    assert found.classes == ("night", "people")
    rows = found.train.set_index("id")[["night", "people"]]
    assert rows.loc["3"].tolist() == [1, 1]
    assert rows.loc["4"].tolist() == [0, 1]
    assert rows.loc["11"].tolist() == [0, 0]
    unlabelled = load(data, source, "multilabel", unlisted="unlabelled")
    assert (len(unlabelled.train), len(unlabelled.labeled)) == (12, 10)
    assert len(load(data, source, "multilabel", unlisted="ignore").train) == 10


def test_id_lists_with_unknown_or_repeated_ids_are_refused(data):
    draw_id_lists(data)
    source = {"layout": "id_lists", "pattern": "im{id}.jpg"}
    with (data / "annotations/night.txt").open("a") as file:
        file.write("99\n77\n")
    fact = "(99 of night, 77 of night)"
    assert_refused("image_missing", fact, data, source, "multilabel", unlisted="ignore")
    (data / "annotations/night.txt").write_text("1\n1\n")
    assert_refused("ids_duplicate", "(1 of night)", data, source, "multilabel", unlisted="ignore")


# --- Pascal VOC


def test_boxes_become_labels_of_their_image(data):
    draw_voc(data)
    found = load(data, TRAINVAL, "multilabel", held_out=HELD_OUT)
    assert found.classes == ("green", "red")
    assert found.train.set_index("id")[["green", "red"]].loc["im_001"].tolist() == [1, 1]
    assert found.train.set_index("id")[["green", "red"]].loc["im_002"].tolist() == [0, 1]
    assert (len(found.train), len(found.held_out["test"])) == (8, 4)


def test_boxes_become_crops(data):
    draw_voc(data)
    found = load(data, TRAINVAL, "binary", held_out=HELD_OUT, voc={"as": "crops"})
    row = found.train[found.train["id"] == "im_001#1"].iloc[0]
    assert row[["label", "group", "path"]].tolist() == ["green", "im_001", "JPEGImages/im_001.jpg"]
    assert row[["xmin", "ymin", "xmax", "ymax"]].tolist() == [34, 8, 58, 32]
    assert len(found.train) == 12


def test_box_numbers_do_not_depend_on_skipped_boxes(data):
    draw_voc(data)
    boxes = [("red", 4, 4, 28, 28, "difficult"), ("green", 30, 8, 34, 32), ("green", 34, 8, 58, 32)]
    (data / "Annotations/im_001.xml").write_text(annotation("im_001", boxes))
    rules = {"as": "crops", "difficult": "skip", "min_side": 5}
    found = load(data, TRAINVAL, "binary", voc=rules).train
    assert found["id"][found["group"] == "im_001"].tolist() == ["im_001#2"]


def test_xml_files_beside_the_images_are_read(data):
    draw_voc(data, beside=True)
    assert len(load(data, VOC | {"folder": ".", "annotations": "."}, "multilabel").train) == 12


def test_images_without_xml_are_unlisted(data):
    draw_voc(data)
    draw(data / "JPEGImages" / "more.jpg", COLORS["red"], 1)
    assert_refused("images_unlisted", "JPEGImages/more.jpg", data, VOC, "multilabel")
    assert load(data, VOC, "multilabel", unlisted="negative").train.iloc[-1].tolist() == [
        "more",
        "JPEGImages/more.jpg",
        0,
        0,
    ]


@pytest.mark.parametrize(
    ("xml", "code", "fact"),
    [
        ("<annotation><object>", "annotation_invalid", "(im_001.xml: "),
        ("<html/>", "annotation_invalid", "<annotation>"),
        (
            '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>',
            "annotation_invalid",
            "entities",
        ),
        (annotation("im_001", [("red", "a", 1, 5, 5)]), "annotation_invalid", "<bndbox/xmin> is 'a'"),
        (annotation("im_001", [("", 1, 1, 5, 5)]), "annotation_invalid", "without a name"),
        (annotation("im_001", [("red", 4, 4, 65, 28)]), "box_invalid", "(im_001.xml object 0)"),
        (annotation("im_001", [("red", 4, 4, 4, 28)]), "box_invalid", "1 box lies"),
        (annotation("im_001", [("red", -1, 4, 9, 28)]), "box_invalid", "1 box lies"),
    ],
)
def test_invalid_xml_is_refused(data, xml, code, fact):
    draw_voc(data)
    (data / "Annotations/im_001.xml").write_text(xml)
    assert_refused(code, fact, data, TRAINVAL, "multilabel")


def test_all_invalid_boxes_are_reported_at_once_and_can_be_skipped(data):
    draw_voc(data)
    for i in range(7):
        (data / f"Annotations/im_{i:03d}.xml").write_text(
            annotation("x", [("red", 4, 4, 65, 28), ("green", 1, 1, 9, 9)])
        )
    assert_refused("box_invalid", "(first 5: im_000.xml object 0", data, TRAINVAL, "multilabel")
    assert load(data, TRAINVAL, "multilabel", voc={"bad_boxes": "skip"}).class_counts().to_dict() == {
        "green": 8,
        "red": 1,
    }


def test_xml_without_an_image_and_a_set_without_xml_are_refused(data):
    draw_voc(data)
    (data / "JPEGImages/im_003.jpg").unlink()
    assert_refused("image_missing", "(im_003.xml names 'im_003.jpg')", data, TRAINVAL, "multilabel")
    with (data / "ImageSets/Main/trainval.txt").open("a") as file:
        file.write("im_777\n")
    assert_refused("annotation_missing", "(im_777)", data, TRAINVAL, "multilabel")


def test_an_xml_file_renamed_together_with_its_image_matches_it(data):
    draw_voc(data)
    (data / "Annotations/im_001.xml").write_text(
        annotation("im_001", [("green", 1, 1, 9, 9)], file_name="IMG_2041.jpg")
    )
    assert load(data, TRAINVAL, "multilabel").train["path"].tolist()[1] == "JPEGImages/im_001.jpg"


def test_an_image_size_missing_in_the_xml_is_read_from_the_image(data):
    draw_voc(data)
    (data / "Annotations/im_001.xml").write_text(annotation("im_001", [("red", 4, 4, 65, 28)], size=(0, 0)))
    assert_refused("box_invalid", "1 box lies", data, TRAINVAL, "multilabel")


# --- files


def test_links_out_of_the_folder_are_refused(data, tmp_path):
    draw_class_folders(data)
    draw(tmp_path / "secret" / "1.png", COLORS["red"], 1)
    (data / "train/red/evil.png").symlink_to(tmp_path / "secret/1.png")
    (data / "train/blue").symlink_to(tmp_path / "secret")
    fact = "(train/blue, train/red/evil.png)"
    assert_refused("link_outside", fact, data, {"layout": "class_folders"})


def test_a_link_inside_the_folder_is_an_image(data):
    draw_class_folders(data)
    (data / "train/red/again.png").symlink_to(data / "train/red/0.png")
    assert len(load(data, {"layout": "class_folders"}).train) == 31


def test_deeply_nested_images_are_found(data):
    draw_class_folders(data)
    deep = data / "train" / "red"
    for _ in range(60):
        deep = deep / "a"
    deep.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(deep / "x.png")
    assert len(load(data, {"layout": "class_folders"}).train) == 31


def test_images_of_several_formats_and_modes_are_read(data):
    rows = []
    for i, (suffix, mode) in enumerate(
        [("jpg", "L"), ("PNG", "RGBA"), ("gif", "P"), ("bmp", "RGB"), ("webp", "RGB"), ("TIFF", "CMYK")]
    ):
        (data / "train").mkdir(exist_ok=True)
        Image.new("RGB", (9, 9), COLORS["red"]).convert(mode).save(data / "train" / f"{i}.{suffix}")
        rows.append(f"{i},{'ab'[i % 2]}")
    source = table(data, "id,label\n" + "\n".join(rows)) | {"ids": "stem"}
    assert pd.Series(load(data, source).train["path"]).str.split(".").str[1].tolist() == [
        "jpg",
        "PNG",
        "gif",
        "bmp",
        "webp",
        "TIFF",
    ]


# --- adding a layout


def test_a_registered_layout_adds_a_config_section_and_a_reader(data, monkeypatch):
    for registry in (layouts, layout_sections):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))

    class Prefixes(LabeledSource):
        folder: str = "train"
        separator: str = "_"

    @register_layout("prefixes")
    class PrefixLayout(Layout[Prefixes]):
        description = "the class is the first part of the file name"
        section = Prefixes

        def read(self, root, source, config):
            paths = ImageFolder.open(root, source.folder, "name").paths
            labels = [name.split(source.separator)[0] for name in paths]
            return LabeledImages(images_table(paths).assign(label=labels))

        def detect(self, survey, hints):
            return None

    draw_images(data, "cat-1.png", "dog-1.png", "dog-2.png")
    found = load(data, {"layout": "prefixes", "separator": "-"})
    assert found.class_counts().to_dict() == {"cat": 1, "dog": 2}
    with pytest.raises(ValidationError, match="separatorr"):
        load(data, {"layout": "prefixes", "separatorr": "-"})
