"""Measure all claims: ``python -m tests.benchmarks [NAME…] [--readme README.md]``.

Each benchmark runs in its own process, so that imports, memory and caches are not shared. The table is
printed on stdout and written between the markers of a README. Exit with 1 if a claim does not hold or a
benchmark fails.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import subprocess
import sys
import tempfile
import traceback
from dataclasses import asdict
from pathlib import Path

from kit.runtime.process import claim_process
from tests.benchmarks.claim import Claim
from tests.benchmarks.table import Outcome, table_of, with_table

HERE = Path(__file__).parent
STDERR = 2  # the output of benchmarks goes there, and the table to stdout


def names() -> list[str]:
    """Return the names of the benchmarks: the scripts in this folder that define ``claims``."""
    return sorted(path.stem for path in HERE.glob("*.py") if _has_claims(path))


def _has_claims(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == "claims" for node in tree.body)


def run_alone(module: str) -> Outcome:
    """Return the outcome of a module's ``claims()``, run in its own process; a crash is an outcome, too.

    Args:
        module: The full name of the module; its last part is the name of the benchmark.
    """
    name = module.rpartition(".")[2]
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "claims.json"
        command = [sys.executable, "-m", "tests.benchmarks", "--alone", module, str(result)]
        done = subprocess.run(command, cwd=HERE.parents[1], stdout=STDERR, check=False)
        if not result.exists():
            return Outcome(name, crash=f"exit status {done.returncode}")
        values = json.loads(result.read_text(encoding="utf-8"))
    return Outcome(name, [Claim(**claim) for claim in values["claims"]], values["crash"])


def measure_alone(module: str, result: Path) -> None:
    """Write the claims of a module, or its error, as JSON; the process has the settings of a kit command."""
    claim_process()
    values: dict[str, object] = {"claims": [], "crash": ""}
    try:
        values["claims"] = [asdict(claim) for claim in importlib.import_module(module).claims()]
    except Exception as error:
        traceback.print_exc()
        values["crash"] = traceback.format_exception_only(error)[-1].strip()
    result.write_text(json.dumps(values), encoding="utf-8")


def main() -> int:
    """Measure the claims, print and write the table; return 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names())}; default: all")
    parser.add_argument("--readme", type=Path, help="also write the table between the markers of this file")
    parser.add_argument(
        "--mark", default="bench", help="name of the markers <!-- NAME --> and <!-- /NAME -->"
    )
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        measure_alone(args.alone[0], Path(args.alone[1]))
        return 0
    unknown = sorted(set(args.names) - set(names()))
    if unknown:
        parser.error(f"unknown benchmarks: {', '.join(unknown)}; benchmarks: {', '.join(names())}")
    if args.readme:
        with_table(args.readme.read_text(encoding="utf-8"), "", args.mark)  # raises before hours of measuring
    outcomes = [_run_and_report(name) for name in args.names or names()]
    table = table_of(outcomes, " ".join([parser.prog, *args.names]))
    print(table)
    if args.readme:
        text = args.readme.read_text(encoding="utf-8")
        args.readme.write_text(with_table(text, table, args.mark), encoding="utf-8")
    return 0 if all(outcome.holds for outcome in outcomes) else 1


def _run_and_report(name: str) -> Outcome:
    print(f"--- {name}", file=sys.stderr, flush=True)
    outcome = run_alone(f"{__package__}.{name}")
    print(*outcome.rows(), sep="\n", file=sys.stderr, flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
