"""Writes the report's JSON schema: `python -m pipeline.schema > docs/report.schema.json`."""

import ast
import inspect
import json
import sys
from types import ModuleType
from typing import Any

import msgspec

from pipeline import report, spec


def schema() -> str:
    """JSON Schema (draft 2020-12) of `Report`, every field with its description; the same text on every machine."""
    document: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Automations video report, version {report.REPORT_VERSION}",
        **msgspec.json.schema(report.Report),
    }
    described = field_docstrings(report) | field_docstrings(spec)
    for record, definition in document["$defs"].items():
        for field, shape in definition.get("properties", {}).items():
            if (record, field) in described:
                shape["description"] = described[record, field]
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def field_docstrings(module: ModuleType) -> dict[tuple[str, str], str]:
    """(class, field) -> the string that stands under the field, on one line; Python itself forgets these."""
    found = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, below in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                found[node.name, field.target.id] = " ".join(below.value.value.split())
    return found


if __name__ == "__main__":
    sys.stdout.write(schema())
