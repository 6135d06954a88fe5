"""In a notebook: the example runs to the submission, with progress; loader processes work however they start."""

import json
from pathlib import Path

import pytest

from kit.runtime.notebook_progress import bar, with_progress

EXAMPLE = Path(__file__).parents[1] / "kit" / "examples" / "digits.ipynb"

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries that run notebooks


def executed(notebook, folder):
    """Return the cells of a notebook after running it in a folder."""
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell):
    """Return everything that a cell has shown, as text."""
    return json.dumps(cell.outputs)


@pytest.mark.slow
def test_the_example_ends_with_a_checked_submission(tmp_path):
    import nbformat

    cells = executed(nbformat.read(EXAMPLE, as_version=4), tmp_path)
    assert (tmp_path / "submissions" / "digits" / "first.csv").exists()
    tables = [cell for cell in cells if "<table>" in shown(cell)]
    assert len(tables) >= 4
    assert "text/html" in shown(cells[-1])
    assert "no problem found" in shown(cells[-1])
    assert "out-of-fold" in shown(cells[3])  # progress is shown without being asked for


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_loader_processes_work_under_every_start_method(tmp_path, method):
    import nbformat

    code = f"""
        import multiprocessing
        multiprocessing.set_start_method("{method}", force=True)
        import kit
        from pathlib import Path
        from kit.competition.digits import write_digits
        write_digits(Path("data/digits"))
        config = kit.init("data/digits").config
        small = ["train.epochs=1", "train.workers=2", "folds.count=2", "name=small"]
        kit.train(config, folds=[0], overrides=small)
    """
    lines = "\n".join(line.strip() for line in code.strip().splitlines())
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(lines)])
    (cell,) = executed(notebook, tmp_path)
    assert "1 of 2 folds trained" in shown(cell)


def test_a_bar_shows_how_much_is_done_and_the_time_left():
    html = bar("<fold 0>", 3, 4, 90.0)
    assert 'value="3" max="4"' in html
    assert "&lt;fold 0&gt; 3/4, 0:30 left" in html
    assert "&lt;fold 0&gt; 3/4, accuracy 0.9" in bar("<fold 0>", 3, 4, 90.0, "accuracy 0.9")


def test_only_verbs_that_report_progress_get_one():
    def verb(*, progress=None):
        return progress

    def other():
        return None

    assert with_progress(verb)() is not None
    assert with_progress(verb)(progress="mine") == "mine"
    assert with_progress(other) is other


def test_the_example_names_verbs_that_exist():
    import re

    import kit

    cells = json.loads(EXAMPLE.read_text())["cells"]
    verbs = {verb for cell in cells for line in cell["source"] for verb in re.findall(r"kit\.(\w+)\(", line)}
    assert verbs
    assert verbs <= set(kit.__all__)
