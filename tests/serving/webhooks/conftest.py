"""A real PostgreSQL, the real API, and receivers on this machine."""

from tests.serving.api.conftest import call, call_shared
from tests.serving.jobs.conftest import run, url

__all__ = ["call", "call_shared", "run", "url"]
