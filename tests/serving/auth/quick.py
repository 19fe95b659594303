"""Passwords that are hashed at once, for tests that are about something else than what guessing one costs."""

from functools import partial

import pytest
from argon2 import PasswordHasher

from serving.auth import passwords
from tests.serving.auth import people

#: Argon2id with as little work as it takes: a quarter of a second less for each password.
_QUICK = partial(PasswordHasher, time_cost=1, memory_cost=64, parallelism=1)


@pytest.fixture(autouse=True)
def quick_passwords(request, monkeypatch) -> None:
    """In all modules but those that set `REAL_PASSWORDS`."""
    # A hash that was made with other parameters would be made anew by who signs in.
    people.password_hash.cache_clear()
    if not getattr(request.module, "REAL_PASSWORDS", False):
        monkeypatch.setattr(passwords, "PasswordHasher", _QUICK)
        monkeypatch.setattr(people, "PasswordHasher", _QUICK)
