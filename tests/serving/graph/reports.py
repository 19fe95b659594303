"""Reports side by side, and toolkits whose engines are behind handles."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import msgspec
import numpy as np

from pipeline.report import Report
from pipeline.rescore import unpack
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.media import SandboxedMedia
from serving.graph.toolkits import GraphToolkits


def same(report: Report, expected: Report) -> None:
    """Assert that both tell the same of a video, but for how long it took."""
    for field in ("video", "decode", "shots", "spec", "models"):
        assert getattr(report, field) == getattr(expected, field), field
    assert [one.code for one in report.warnings] == [one.code for one in expected.warnings]
    for field in ("segments", "tags"):
        _near(msgspec.to_builtins(getattr(report, field)), msgspec.to_builtins(getattr(expected, field)), field)
    assert report.features.pts_s == expected.features.pts_s
    _near(report.features.signals, expected.features.signals, "signals")
    np.testing.assert_allclose(unpack(report.features.embeddings), unpack(expected.features.embeddings), atol=2e-3)


def _near(found: object, expected: object, where: str) -> None:
    """Equal, but numbers only nearly."""
    if isinstance(expected, dict):
        assert isinstance(found, dict), where
        assert set(found) == set(expected), where
        for key, value in expected.items():
            _near(found[key], value, f"{where}.{key}")
    elif isinstance(expected, list | tuple):
        assert isinstance(found, list | tuple), where
        assert len(found) == len(expected), where
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            _near(one, other, f"{where}[{number}]")
    elif isinstance(expected, float):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3, err_msg=where)
    else:
        assert found == expected, where


@asynccontextmanager
async def toolkits(engine, text=None, **more) -> AsyncIterator[GraphToolkits]:
    """Toolkits of one engine, `default`, and a text deployment; the engine's own text towers where there is none."""
    with Sandbox() as sandbox:
        graph = GraphToolkits(
            {"default": engine},
            engine if text is None else text,
            partial(SandboxedMedia, sandbox=sandbox),
            **{"traffic": {}, "clips_in_flight": 8} | more,
        )
        yield graph
        await graph.close()
