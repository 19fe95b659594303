"""The API as people reach it."""

from tests.serving.api.conftest import call
from tests.serving.auth.quick import quick_passwords
from tests.serving.jobs.conftest import run, url

__all__ = ["call", "quick_passwords", "run", "url"]
