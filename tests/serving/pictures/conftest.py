"""The API with videos in it whose frames are known."""

from pathlib import Path

import pytest

from tests.serving.api.conftest import call, call_shared
from tests.serving.conftest import hostile_report, sample_report
from tests.serving.jobs.conftest import url
from tests.serving.pictures import films

__all__ = ["call", "call_shared", "hostile_report", "sample_report", "url"]


@pytest.fixture(scope="session")
def plain(tmp_path_factory) -> bytes:
    """Six seconds, ten numbered frames each, a keyframe every two seconds."""
    return films.film(Path(tmp_path_factory.mktemp("films")) / "plain.mp4")
