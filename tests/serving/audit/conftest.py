"""A real PostgreSQL, and the real API."""

from tests.serving.api.conftest import call
from tests.serving.jobs.conftest import run, url

__all__ = ["call", "run", "url"]
