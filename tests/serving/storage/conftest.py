"""A real PostgreSQL, with two tenants."""

from tests.serving.jobs.conftest import run, server, url

__all__ = ["run", "server", "url"]
