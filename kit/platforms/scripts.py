"""The script and the notebook of a bundle, at most 30 lines each."""

from __future__ import annotations

import json

SCRIPT = '''"""Predict a hidden test folder and write submission.csv, without network."""
import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

bundle = Path(__file__).resolve().parent
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("data", type=Path, help="the competition's folder, with the hidden test images")
parser.add_argument("--out", type=Path, default=Path("submission.csv"))
parser.add_argument("--time-limit", help="such as 8h30m; default: as kit bundle was told")
arguments = parser.parse_args()

packages = tempfile.mkdtemp()
install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--upgrade"]
wheels = sorted(map(str, (bundle / "wheels").glob("*.whl")))
subprocess.run([*install, "--target", packages, *wheels], check=True)
sys.path.insert(0, packages)

from kit.cli.console import Terminal
from kit.errors import Interrupted, KitError
from kit.platforms.predict_bundle import predict_bundle

try:
    done = predict_bundle(bundle, arguments.data, arguments.out, arguments.time_limit, Terminal())
except (KitError, Interrupted) as error:
    sys.exit(f"kit: {error}")
print(f"{done.file} written and checked: {done.rows} rows")
'''

CELL = """import subprocess, sys
from pathlib import Path

def find(name):
    patterns = ("*/" * depth + name for depth in range(4))
    return next(path for pattern in patterns for path in Path("/kaggle/input").glob(pattern))

bundle, data = find("bundle.json").parent, find({data!r})  # the dataset of the bundle; the competition
subprocess.run([sys.executable, bundle / "predict.py", data, "--out", "submission.csv"], check=True)
"""


def script() -> str:
    """Return ``predict.py``."""
    return SCRIPT


def notebook(data: str) -> str:
    """Return ``predict.ipynb``, whose one cell runs ``predict.py`` on Kaggle, in a few lines of JSON.

    Args:
        data: The name of the competition's folder.
    """
    source = CELL.format(data=data).splitlines(keepends=True)
    cell: dict[str, object] = {"cell_type": "code", "id": "predict", "execution_count": None}
    cell |= {"metadata": {}, "outputs": []}
    lines = ",\n".join(json.dumps(line) for line in source)
    head = json.dumps(cell)[:-1]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return (
        f'{{"cells": [{head}, "source": [\n{lines}]}}],\n'
        f'"metadata": {json.dumps(kernel)},\n"nbformat": 4, "nbformat_minor": 5}}\n'
    )
