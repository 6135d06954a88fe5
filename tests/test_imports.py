"""Imports follow the layers without cycles, and commands that must start fast do not import torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

KIT = Path(__file__).parents[1] / "kit"

# A layer may import from the layers above it in this list, and from itself without a cycle.
LAYERS = [
    ["kit", "errors", "wrong_values", "registry", "natural", "runtime"],
    ["storage", "tasks", "config"],
    ["metrics", "predictions"],
    ["submission_format"],
    ["submission_check", "competition", "parallel"],
    ["postprocess", "folds", "engine"],
    ["training"],
    ["inference", "bench"],
    ["evaluation", "probe"],
    ["ensemble", "submission"],
    ["status"],
    ["leaderboard", "platforms"],
    ["report"],
    ["explain"],
    ["pipeline"],
    ["quickstart", "auto", "sweep", "app"],
    ["cli", "__main__"],
]
# Modules that import by name, and why; the graph below does not contain these imports.
IMPORT_BY_NAME = {
    "kit": "verbs load on first use",
    "kit.cli.main": "one file per verb",
    "kit.config.competition": "a layout brings its own section of the config, so the schema asks for the layouts",
    "kit.pipeline.components": "registries load on demand, since most import torch",
}
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
HEAVY = {"torch", "torchvision", "timm", "albumentations", "cv2", "safetensors"}


def package_of(module: str) -> str:
    """Return the package of a module: kit.engine.fit.trainer -> engine, kit -> kit."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "kit"


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """Return (module, at the top level) for every import, those inside functions included."""
    tree = ast.parse(path.read_text())
    top = set(map(id, ast.walk(ast.Module(body=[n for n in tree.body if not _is_lazy(n)], type_ignores=[]))))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            is_package = (KIT.parent / node.module.replace(".", "/")).is_dir()
            names = [s for s in submodules if _exists(s)] if is_package else []
            found += [(name, id(node) in top) for name in (names or [node.module])]
    return found


def _is_lazy(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.ClassDef | ast.If)


def _exists(module: str) -> bool:
    path = KIT.parent / module.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").exists()


def graph() -> dict[str, set[str]]:
    """Return module -> the kit modules that it imports, also inside functions."""
    result = {}
    for path in KIT.rglob("*.py"):
        module = ".".join(path.relative_to(KIT.parent).with_suffix("").parts).removesuffix(".__init__")
        result[module] = {name for name, _ in imports_of(path) if name.split(".")[0] == "kit"}
    return result


def test_every_module_has_a_layer_and_imports_point_down():
    edges = [(a, b) for a, targets in graph().items() for b in targets]
    upward = [f"{a} -> {b}" for a, b in edges if LEVEL[package_of(b)] > LEVEL[package_of(a)]]
    assert len(edges) > 100
    assert upward == []


def test_only_the_listed_modules_import_by_name():
    found = set()
    for path in KIT.rglob("*.py"):
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        attributes = {n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)}
        if {"import_module", "__import__"} & (names | attributes):
            found.add(".".join(path.relative_to(KIT.parent).with_suffix("").parts).removesuffix(".__init__"))
    assert found == set(IMPORT_BY_NAME)


def test_imports_have_no_cycle():
    edges = graph()
    state: dict[str, str] = {}

    def visit(module: str, trail: list[str]) -> None:
        assert state.get(module) != "open", " -> ".join([*trail, module])
        if module not in state:
            state[module] = "open"
            for target in edges.get(module, ()):
                visit(target, [*trail, module])
            state[module] = "done"

    for module in edges:
        visit(module, [])


def test_only_the_engine_imports_torch_at_the_top():
    for path in KIT.rglob("*.py"):
        if path.relative_to(KIT).parts[0] == "engine":
            continue
        heavy = [m for m, top in imports_of(path) if top and m.split(".")[0] in HEAVY]
        engine = [m for m, top in imports_of(path) if top and m.startswith("kit.engine")]
        assert heavy + engine == [], path


def test_init_files_contain_only_docstrings_assignments_and_imports():
    for path in KIT.glob("*/**/__init__.py"):  # kit/__init__.py itself loads verbs on first use
        kinds = {type(node) for node in ast.parse(path.read_text()).body}
        assert kinds <= {ast.Expr, ast.Assign, ast.ImportFrom}, path


def loaded_by(code: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter has loaded after ``code``."""
    program = f"{code}\nimport sys; print(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_help_loads_neither_torch_nor_pandas():
    code = "from typer.testing import CliRunner; from kit.cli.main import app; CliRunner().invoke(app, ['--help'])"
    assert loaded_by(code) & (HEAVY | {"pandas", "numpy", "pydantic", "sklearn"}) == set()


@pytest.mark.parametrize("arguments", [["check", "sub.csv", "configs/tiny-cnn.yaml"], ["leaderboard"]])
def test_check_and_leaderboard_load_neither_torch_nor_scikit_learn(trained, monkeypatch, arguments):
    monkeypatch.chdir(trained.root)
    (trained.root / "sub.csv").write_bytes(trained.submission("tiny", "a").path.read_bytes())
    arguments = [a.replace("tiny-cnn", "a") for a in arguments]
    code = f"from typer.testing import CliRunner; from kit.cli.main import app; r = CliRunner().invoke(app, {arguments}); assert r.exit_code == 0, r.output"
    assert loaded_by(code) & (HEAVY | {"scipy", "sklearn", "matplotlib"}) == set()


def test_kit_has_few_top_level_modules_and_no_file_above_400_lines():
    top_level = [path.name for path in KIT.glob("*.py") if not path.name.startswith("__")]
    assert len(top_level) <= 8, top_level
    long = {str(path.relative_to(KIT)): len(path.read_text().splitlines()) for path in KIT.rglob("*.py")}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}
