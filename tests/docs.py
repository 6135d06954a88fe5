"""Generated parts of the documentation: ``python -m tests.docs`` rewrites them, a test compares them."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- tree -->", "<!-- /tree -->"
ORDER = [
    "cli",
    "pipeline",
    "competition",
    "folds",
    "parallel",
    "training",
    "inference",
    "evaluation",
    "postprocess",
    "ensemble",
    "submission",
    "platforms",
    "leaderboard",
    "report",
    "explain",
    "app",
    "config",
    "engine",
    "submission_format",
    "submission_check",
    "metrics",
    "probe",
    "bench",
    "runtime",
    "storage",
]
ROOMS = ["device", "models", "data", "augment", "optim", "fit", "tta", "explain"]


def first_line(path: Path) -> str:
    """Return the first line of a module's docstring, without the full stop."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0].rstrip(".")


def rank(path: Path) -> tuple[int, str]:
    """Return where a package stands in its folder."""
    order = ROOMS if path.parent.name == "engine" else ORDER
    return (order.index(path.name) if path.name in order else len(order), path.name)


def tree(folder: Path, depth: int = 0) -> list[str]:
    """Return one line per package and module below a folder."""
    pad = "  " * depth
    modules = sorted(p for p in folder.glob("*.py") if not p.name.startswith("__"))
    lines = [f"{pad}{folder.name}/".ljust(34) + first_line(folder / "__init__.py")]
    lines += [f"{pad}  {p.name}".ljust(34) + first_line(p) for p in modules]
    for package in sorted((p for p in folder.iterdir() if (p / "__init__.py").exists()), key=rank):
        lines += tree(package, depth + 1)
    return lines


def with_tree(text: str) -> str:
    """Return a document with the tree of ``kit/`` between its marks."""
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return f"{before}{BEGIN}\n```text\n" + "\n".join(tree(ROOT / "kit")) + f"\n```\n{END}{after}"


if __name__ == "__main__":
    readme = ROOT / "kit" / "README.md"
    readme.write_text(with_tree(readme.read_text(encoding="utf-8")), encoding="utf-8")
