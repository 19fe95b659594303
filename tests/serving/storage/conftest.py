"""A real PostgreSQL, with two tenants."""

from tests.serving.jobs.conftest import run, url

__all__ = ["run", "url"]
