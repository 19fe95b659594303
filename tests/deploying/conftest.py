"""A real database, for the real API."""

from tests.serving.jobs.conftest import url
from tests.serving.servers import server

__all__ = ["server", "url"]
