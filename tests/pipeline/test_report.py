"""The report's shape is a promise: committed as a schema, and checked on a real one."""

from pathlib import Path

from pipeline.schema import schema

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "report.schema.json"


def test_the_committed_schema_is_current():
    assert COMMITTED.read_text(encoding="utf-8") == schema(), "run: python -m pipeline.schema > docs/report.schema.json"
