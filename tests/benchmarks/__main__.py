"""Every claim measured: ``python -m tests.benchmarks [NAME…] [--readme README.md]``.

Each benchmark runs in a process of its own, so that none sees what another imported, holds or cached. The
table goes to stdout, and into a README between its marks. Exit 1: a bar does not hold, or a benchmark broke off.
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
from tests.benchmarks.table import Outcome, replaced, table_of

HERE = Path(__file__).parent
STDERR = 2  # what benchmarks print goes there: stdout holds the table


def names() -> list[str]:
    """Return the benchmarks: the scripts beside this one that define ``claims``, found without importing them."""
    return sorted(path.stem for path in HERE.glob("*.py") if _has_claims(path))


def _has_claims(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == "claims" for node in tree.body)


def run_alone(module: str) -> Outcome:
    """Return what a module's ``claims()`` says in a process of its own, however that ends.

    Args:
        module: Its full name; the last part is the benchmark's.
    """
    name = module.rpartition(".")[2]
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "claims.json"
        command = [sys.executable, "-m", "tests.benchmarks", "--alone", module, str(result)]
        done = subprocess.run(command, cwd=HERE.parents[1], stdout=STDERR, check=False)
        if not result.exists():
            return Outcome(name, crash=f"the process ended with {done.returncode}")
        values = json.loads(result.read_text(encoding="utf-8"))
    return Outcome(name, [Claim(**claim) for claim in values["claims"]], values["crash"])


def measure_alone(module: str, result: Path) -> None:
    """Write what a module claims, or why it broke off, as JSON; the process is set up as a command's is."""
    claim_process()
    values: dict[str, object] = {"claims": [], "crash": ""}
    try:
        values["claims"] = [asdict(claim) for claim in importlib.import_module(module).claims()]
    except Exception as error:
        traceback.print_exc()
        values["crash"] = traceback.format_exception_only(error)[-1].strip()
    result.write_text(json.dumps(values), encoding="utf-8")


def main() -> int:
    """Measure, print, and write the table; return 1 if a bar does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names())}; default: all")
    parser.add_argument("--readme", type=Path, help="write the table between the marks of this file, too")
    parser.add_argument("--mark", default="bench", help="which marks: <!-- bench --> and <!-- /bench -->")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        measure_alone(given.alone[0], Path(given.alone[1]))
        return 0
    unknown = sorted(set(given.names) - set(names()))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(names())}")
    if given.readme:
        replaced(given.readme.read_text(encoding="utf-8"), "", given.mark)  # refused before hours are spent
    outcomes = [_announced(name) for name in given.names or names()]
    table = table_of(outcomes, " ".join([parser.prog, *given.names]))
    print(table)
    if given.readme:
        text = given.readme.read_text(encoding="utf-8")
        given.readme.write_text(replaced(text, table, given.mark), encoding="utf-8")
    return 0 if all(outcome.holds for outcome in outcomes) else 1


def _announced(name: str) -> Outcome:
    print(f"--- {name}", file=sys.stderr, flush=True)
    outcome = run_alone(f"{__package__}.{name}")
    print(*outcome.rows(), sep="\n", file=sys.stderr, flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
