"""The server runs with what it says it needs: the image has nothing that only tests need."""

import ast
import sys
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).resolve().parents[2]
OURS = ("models", "pipeline", "serving")

#: Extras that the image is installed with (`test_dockerfile`).
EXTRAS = ("kms",)


@cache
def _needed() -> frozenset[str]:
    """Distributions that are installed where only the server is, here."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    waiting = [Requirement(line) for line in asked]
    found: set[tuple[str, str]] = set()
    while waiting:
        one = waiting.pop()
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(one.name)
        for extra in ("", *one.extras):
            if (name, extra) not in found:
                found.add((name, extra))
                waiting += _asked_by(name, extra)
    return frozenset(name for name, _ in found)


def _asked_by(name: str, extra: str) -> list[Requirement]:
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        return []
    found = []
    for line in lines:
        one = Requirement(line)
        if one.marker is None or one.marker.evaluate({"extra": extra}):
            one.marker = None
            found.append(one)
    return found


def _imported(package: str) -> dict[str, set[str]]:
    """Top-level name of a module -> files that import it."""
    found: dict[str, set[str]] = {}
    for file in (TOP / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                found.setdefault(name.partition(".")[0], set()).add(str(file.relative_to(TOP)))
    return found


@pytest.mark.parametrize("package", OURS)
def test_every_import_is_of_a_package_that_the_server_brings(package):
    distributions = packages_distributions()
    strangers = {}
    for module, importers in _imported(package).items():
        if module in sys.stdlib_module_names or module in (*OURS, "configs"):
            continue
        having = {canonicalize_name(name) for name in distributions.get(module, [])}
        if not having & _needed():
            strangers[module] = sorted(importers)
    assert not strangers


def test_what_sqlalchemy_needs_for_asyncio_is_asked_for():
    """It is imported by no file of ours, and without it nothing reaches the database."""
    assert "greenlet" in _needed()


def test_what_only_tests_need_is_not():
    assert {"numpy", "torch", "ray", "sqlmodel"} <= _needed()
    assert not {"pytest", "ruff", "playwright", "opencv-python-headless", "kubernetes-validate"} & _needed()
