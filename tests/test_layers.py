"""Imports run one way, serving -> pipeline -> models, and light modules stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: package -> what none of its modules may import, even lazily.
FORBIDDEN = {
    "models": {"pipeline", "serving", "benchmarks", "ray", "litestar", "sqlmodel"},
    "pipeline": {"serving", "benchmarks", "ray", "litestar", "sqlmodel"},
    "serving": {"benchmarks"},
}


def imported(file: Path) -> set[str]:
    """Top-level names that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_run_one_way(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(f.relative_to(ROOT)): imported(f) & FORBIDDEN[package] for f in files}
    assert not {name: bad for name, bad in wrong.items() if bad}


def test_pipeline_knows_models_by_their_contract_only():
    allowed = {"models.answers", "models.base", "models.frame_stats", "models.memory", "models"}
    for file in sorted((ROOT / "pipeline").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "models":
                assert node.module in allowed, f"{file.name} imports {node.module}"


@pytest.mark.parametrize(
    "module",
    ["serving.cli", "pipeline.spec", "pipeline.report", "models", "models.catalog", "models.device", "models.things"],
)
def test_light_modules_do_not_pull_in_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr or f"{module} imports torch"


def test_files_stay_readable():
    long = {}
    for package in ("models", "pipeline", "serving", "benchmarks", "tests"):
        for file in (ROOT / package).rglob("*.py"):
            lines = len(file.read_text(encoding="utf-8").splitlines())
            if lines > 300:
                long[str(file.relative_to(ROOT))] = lines
    assert not long
