"""A real database, for the real API."""

from tests.serving.jobs.conftest import server, url

__all__ = ["server", "url"]
