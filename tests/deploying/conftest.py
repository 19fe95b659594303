"""A real database, for the real API."""

from tests.serving.jobs.conftest import url

__all__ = ["url"]
