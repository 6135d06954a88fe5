"""Time the writing and checking of 5,000,000 rows: ``python -m tests.benchmarks.submissions``.

The reference is pyarrow, which writes the same table and reads it without checks. Both run in turns, each in
its own process. Memory is the peak of the process including the rows, without imports and pages of mapped
files.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from pyarrow import feather

from kit.predictions import FinalPredictions
from kit.submission_check.check import check_file
from kit.submission_format.kinds import submission_kinds
from kit.submission_format.spec import SubmissionFormat
from kit.submission_format.writer import write
from tests.benchmarks.claim import Claim, show
from tests.benchmarks.memory import PeakMemory

ROWS = 5_000_000
TURNS = 3
KINDS = ("score", "label")


@dataclass(frozen=True)
class Cost:
    """Seconds to write and to read or check, size of the file in MiB, and peak memory in MiB."""

    write: float
    read: float
    file: float
    memory: float

    @property
    def seconds(self) -> float:
        """The total time."""
        return self.write + self.read


@dataclass(frozen=True)
class Compared:
    """The costs of kit and of pyarrow."""

    kind: str
    kit: Cost
    pyarrow: Cost

    @property
    def ratio(self) -> float:
        """The time of kit over the time of pyarrow."""
        return self.kit.seconds / self.pyarrow.seconds

    @property
    def memory(self) -> float:
        """The peak memory of kit over the size of the file."""
        return self.kit.memory / self.kit.file


def write_ids(path: Path, rows: int) -> None:
    """Write ``rows`` ids to a file, because creating them in the measured process would take extra memory."""
    numbers = pc.utf8_lpad(pc.cast(pa.array(np.arange(rows)), pa.string()), 7, "0")
    feather.write_feather(
        pa.table({"id": pc.binary_join_element_wise("img_", numbers, ".jpg", "")}), path, "uncompressed"
    )


def form_of(kind: str, ids: Path) -> SubmissionFormat:
    """Return the submission format of the ids."""
    column = feather.read_table(ids, memory_map=False)["id"]
    classes = ("no", "yes") if kind == "score" else tuple(f"class_{c}" for c in range(100))
    return SubmissionFormat(("id", "value"), "id", submission_kinds.get(kind), column, classes)


def random_predictions(form: SubmissionFormat) -> FinalPredictions:
    """Return random predictions."""
    rng = np.random.default_rng(0)
    probs = rng.random((len(form), 2), dtype=np.float32) if form.kind.numeric else np.zeros((0, 100))
    return FinalPredictions(probs, rng.integers(0, len(form.classes), len(form)))


def by_kit(kind: str, ids: Path, file: Path) -> tuple[float, float]:
    """Return the seconds to write a file and to check it."""
    form = form_of(kind, ids)
    predictions = random_predictions(form)
    start = time.perf_counter()
    write(file, predictions, form)
    written = time.perf_counter()
    assert check_file(file, form) == []
    return written - start, time.perf_counter() - written


def by_pyarrow(kind: str, ids: Path, file: Path) -> tuple[float, float]:
    """Return the seconds to write the same table and to read it."""
    form = form_of(kind, ids)
    predictions = random_predictions(form)
    values = pa.array(np.ascontiguousarray(predictions.probs[:, 1])) if kind == "score" else None
    names = pc.take(pa.array(form.classes), pa.array(predictions.decided)) if values is None else values
    table = pa.table({"id": form.ids, "value": names})
    start = time.perf_counter()
    pyarrow.csv.write_csv(table, file)
    written = time.perf_counter()
    pyarrow.csv.read_csv(file)
    return written - start, time.perf_counter() - written


def _alone(who: str, kind: str, ids: Path) -> Cost:
    """Return the cost of kit or pyarrow, run in its own process."""
    command = [sys.executable, "-m", "tests.benchmarks.submissions", "--alone", who, kind, str(ids)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Cost(**json.loads(done.stdout))


def compared(kind: str, rows: int = ROWS, turns: int = TURNS) -> Compared:
    """Return the costs of both, each the fastest of several turns."""
    with tempfile.TemporaryDirectory() as folder:
        ids = Path(folder) / "ids.feather"
        write_ids(ids, rows)
        pairs = [(_alone("kit", kind, ids), _alone("pyarrow", kind, ids)) for _ in range(turns)]
    ours, theirs = (min(parts, key=lambda part: part.seconds) for parts in zip(*pairs, strict=True))
    return Compared(kind, ours, theirs)


def _run_alone(who: str, kind: str, ids: Path) -> None:
    file = ids.with_name(f"{who}.csv")
    with PeakMemory() as memory:
        write_seconds, read_seconds = {"kit": by_kit, "pyarrow": by_pyarrow}[who](kind, ids, file)
    size = file.stat().st_size / 2**20
    print(json.dumps(vars(Cost(write_seconds, read_seconds, size, memory.bytes / 2**20))))


def claims() -> list[Claim]:
    """Return the claims: time over that of pyarrow, and memory over the size of the file."""
    return [claim for kind in KINDS for claim in _claims(compared(kind))]


def _claims(found: Compared) -> list[Claim]:
    what = f"writing and checking {ROWS:,} rows of kind {found.kind}"
    named = (("kit", found.kit), ("pyarrow", found.pyarrow))
    times = "; ".join(f"{name}: {part.write:.2f} s, then {part.read:.2f} s" for name, part in named)
    memory = f"{found.kit.memory:.0f} MiB, file {found.kit.file:.0f} MiB"
    return [
        Claim(f"{what}: time over pyarrow's without checks", found.ratio, 2.0, "lower", detail=times),
        Claim(f"{what}: peak memory over file size", found.memory, 4.0, "lower", detail=memory),
    ]


def main() -> None:
    """Print the claims, or run kit or pyarrow."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--alone", nargs=3)
    alone = parser.parse_args().alone
    if alone is not None:
        _run_alone(alone[0], alone[1], Path(alone[2]))
        return
    show(claims())


if __name__ == "__main__":
    main()
