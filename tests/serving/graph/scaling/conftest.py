"""A real PostgreSQL."""

from tests.serving.jobs.conftest import run, url

__all__ = ["run", "url"]
