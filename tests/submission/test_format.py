import pandas as pd
import pytest

from kit.competition.samples import load_competition
from kit.config_file import load_config
from kit.errors import KitError
from kit.submission.format import format_for, format_of_sample
from tests.conftest import TINY, write_config

SAMPLE = "data/tiny/sample_submission.csv"


def form(workspace, **changes):
    config = load_config(write_config(workspace, **changes))
    return format_for(config.submission, load_competition(config.competition, workspace))


def test_the_sample_gives_header_ids_and_line_ends(tiny):
    found = form(tiny)
    assert found.header == ("ID", "Label")
    assert found.ids == tuple(f"{i}.png" for i in range(8))
    assert found.newline == "\r\n"
    assert found.classes == ("2", "10", "red")


def test_without_a_sample_the_config_describes_it(tiny):
    values = TINY | {"submission": {"id": "image", "label": "kind"}}
    found = form(tiny, values=values)
    assert (found.header, found.newline, found.sample) == (("image", "kind"), "\n", None)
    values = TINY | {"submission": {"id": "image", "kind": "probabilities"}}
    assert form(tiny, values=values).columns == ("2", "10", "red")


def rewrite_sample(workspace, change):
    path = workspace.root / SAMPLE
    change(pd.read_csv(path, dtype=str)).to_csv(path, index=False)


LISTED = TINY | {
    "competition": TINY["competition"] | {"test": {"folder": "test"}},
}


def test_a_sample_that_does_not_list_exactly_the_test_images_is_refused(tiny):
    rewrite_sample(tiny, lambda t: t.iloc[1:])
    with pytest.raises(KitError, match=r"sample_submission.csv: does not list 1 test images \(0.png\)"):
        form(tiny, values=LISTED)
    rewrite_sample(tiny, lambda t: pd.concat([t, pd.DataFrame({"ID": ["0.png", "x"], "Label": ["2", "2"]})]))
    with pytest.raises(KitError, match=r"lists 1 ids that are no test image \(x\)"):
        form(tiny, values=LISTED)


def test_a_sample_of_another_form_is_refused(tiny):
    with pytest.raises(KitError, match="its columns are not the classes"):
        form(tiny, submission__kind="probabilities")
    with pytest.raises(KitError, match="is score, for 3 classes"):
        form(tiny, submission__kind="score")
    rewrite_sample(tiny, lambda t: t.assign(more="1"))
    with pytest.raises(KitError, match="has 2 columns beside the id"):
        form(tiny)
    rewrite_sample(tiny, lambda t: pd.concat([t, t.iloc[:1]]))
    with pytest.raises(KitError, match="lists an id twice"):
        form(tiny, values=LISTED)
    (tiny.root / SAMPLE).write_text("ID\n1\n")
    with pytest.raises(KitError, match="has no id column, no value column or no row"):
        form(tiny, values=LISTED)


def test_a_label_for_several_classes_is_refused(tiny):
    from dataclasses import replace

    from kit.tasks import tasks

    config = load_config(write_config(tiny))
    competition = replace(load_competition(config.competition, tiny), task=tasks.get("multilabel"))
    with pytest.raises(KitError, match="is label, and an image can have several classes"):
        format_for(config.submission, competition)


def test_a_sample_alone_tells_the_shape(tiny):
    found = format_of_sample(tiny.root / SAMPLE)
    assert (found.kind, found.classes, found.columns) == ("any", (), ("Label",))
