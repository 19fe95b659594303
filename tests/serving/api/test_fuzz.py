"""The short form of `fuzz`: thousands of requests, always the same ones; `make fuzz` sends more, and others."""

import asyncio

from serving.api.openapi import document
from tests.serving.api.conftest import url
from tests.serving.api.fuzz import fuzz
from tests.serving.api.fuzz_config import ALL_PHASES
from tests.serving.api.fuzz_count import CHECKS

__all__ = ["url"]

#: Who has a key meets all; the others are asked who they are.
PLAN = {"admin key": ALL_PHASES, "viewer key": ("examples",), "nobody": ("examples",)}


def test_no_request_finds_a_fault(url, tmp_path, sample_report):
    count = asyncio.run(fuzz(url, tmp_path, sample_report, plan=PLAN, examples=3))
    assert count.failures == []
    assert count.errors == []
    # There is no graph here to embed texts.
    assert {(asked, status) for _, asked, status in count.statuses if status >= 500} <= {("POST /v1/embeddings", 503)}
    # That it was not all refused at the door, and that all was looked at.
    assert count.total > 3000
    # Schemathesis makes no request without a required header in so few examples; the tests of tus do.
    assert {check for check, times in count.checks.items() if times} >= set(CHECKS) - {"missing_required_header"}
    # HEAD is as GET, whose videos are no films here.
    operations = document().count('"operationId"') - document().count('"head": {')
    reached = {operation for operation in count.reached("admin key") if not operation.startswith("HEAD")}
    assert len(reached) > 0.7 * operations, count.statuses
    assert count.explained.total() < 0.2 * count.total, count.explained
