"""The schema that migrations make is the one that the models describe, and rows live through its changes."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import create_async_engine

from serving.auth.passwords import Passwords
from serving.db import embedded, migrate
from serving.db.database import sqlalchemy_url
from serving.db.tables import METADATA
from serving.db.vectors import Halfvec
from serving.errors import Conflict

#: Tables that are not ours, but Alembic's.
_ALEMBIC = "alembic_version"

#: What is emptied on purpose: it is computed again, or asked again.
_EMPTIED = {"0020": {"checkpoint", "question"}}

#: What is made of the rows that are there.
_MADE = {
    "0021": ("SELECT tagged FROM audit_pending", [False]),
    "0024": ("SELECT table_name FROM written_over ORDER BY 1", ["report", "upload", "webhook_endpoint"]),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """URL of a server whose database is as `automations db upgrade` finds it first: empty."""
    with embedded.embedded(tmp_path_factory.mktemp("postgres")) as url:
        yield url


def _revisions() -> list[str]:
    """All of them, the first one first."""
    config = Config()
    config.set_main_option("script_location", str(migrate._SCRIPTS))
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def _within(url: str, what: Callable[[sa.Connection], Any]) -> Any:
    """What a function makes of a connection that sees every tenant."""

    async def main() -> Any:
        engine = create_async_engine(sqlalchemy_url(url))
        try:
            async with engine.begin() as connection:
                await connection.execute(sa.text("SELECT set_config('app.tenant', '*', false)"))
                return await connection.run_sync(what)
        finally:
            await engine.dispose()

    return asyncio.run(main())


def _differing(context, inspected_column, metadata_column, inspected_type, metadata_type) -> bool | None:
    """Whether types differ; None: as Alembic sees it. All texts are one type, and all lists of texts another."""
    kinds = (inspected_type, metadata_type)
    return False if all(map(_is_text, kinds)) or all(map(_is_texts, kinds)) else None


def _is_text(kind: Any) -> bool:
    plain = kind.impl_instance if isinstance(kind, sa.TypeDecorator) else kind
    return isinstance(plain, sa.String) and plain.length is None


def _is_texts(kind: Any) -> bool:
    return isinstance(kind, sa.ARRAY) and _is_text(kind.item_type)


def _differences(connection: sa.Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": _differing})
    return compare_metadata(context, METADATA)


def _fill(connection: sa.Connection) -> None:
    """A row in each table that has none, as far as its columns tell what it may be."""
    metadata = sa.MetaData()
    metadata.reflect(connection)
    for table in metadata.sorted_tables:
        if table.name == _ALEMBIC or connection.scalar(sa.select(sa.func.count()).select_from(table)):
            continue
        row = {column.name: _value(connection, column) for column in table.columns if column.computed is None}
        connection.execute(table.insert().values(row))


def _value(connection: sa.Connection, column: sa.Column[Any]) -> Any:
    for key in column.foreign_keys:
        return connection.scalar(sa.select(key.column).limit(1))
    kind = column.type
    if isinstance(kind, sa.DateTime):
        return datetime.now(UTC) + timedelta(days=1)
    if isinstance(kind, Halfvec):
        return str([1] * int(kind.dim or 2))
    if isinstance(kind, JSONB):
        return [] if column.name in ("labels", "models") else {"a": 1}
    if isinstance(kind, sa.ARRAY):
        return [1.0] if isinstance(kind.item_type, sa.Float) else ["x"]
    if isinstance(kind, sa.LargeBinary):
        return b"x"
    if isinstance(kind, sa.Boolean):
        return True
    return 1 if isinstance(kind, sa.Numeric | sa.Float | sa.Integer) else "x"


def _counts(connection: sa.Connection) -> dict[str, int]:
    names = [name for name in sa.inspect(connection).get_table_names() if name != _ALEMBIC]
    return {name: connection.scalar(sa.text(f'SELECT count(*) FROM "{name}"')) for name in names}


def _functions(connection: sa.Connection) -> list[str]:
    ours = """
        SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e') ORDER BY proname
    """
    return list(connection.scalars(sa.text(ours)))


def test_models_and_migrations_agree(server):
    migrate.upgrade(server)
    assert _within(server, _differences) == []


def test_a_difference_would_be_found(server):
    """A column, an index or a type that only one of them has."""
    migrate.upgrade(server)

    def changed(connection: sa.Connection) -> list[Any]:
        with connection.begin_nested() as undone:
            connection.execute(sa.text("ALTER TABLE video ADD COLUMN extra text"))
            connection.execute(sa.text("ALTER TABLE job ALTER COLUMN priority TYPE bigint"))
            connection.execute(sa.text("DROP INDEX ix_job_claim"))
            found = _differences(connection)
            undone.rollback()
        return found

    kinds = {one[0] if isinstance(one, tuple) else one[0][0] for one in _within(server, changed)}
    assert kinds == {"remove_column", "modify_type", "add_index"}


def test_rows_live_through_every_revision_and_back(server):
    migrate.downgrade(server, "base")
    seen: dict[str, int] = {}
    for revision in _revisions():
        migrate.upgrade(server, revision)
        kept = _within(server, _counts)
        lost = {name for name in seen if not kept.get(name)}
        assert lost <= _EMPTIED.get(revision, set()), f"{revision} lost rows: {seen} before, {kept} after"
        if revision in _MADE:
            query, expected = _MADE[revision]
            assert _within(server, lambda connection, query=query: list(connection.scalars(sa.text(query)))) == expected
        _within(server, _fill)
        seen = _within(server, _counts)
        assert all(seen.values()), f"{revision}: {seen}"
    assert set(seen) == {table.name for table in METADATA.sorted_tables}
    functions = _within(server, _functions)
    with pytest.raises(Conflict, match="unreadable for good"):
        migrate.downgrade(server, "0015")
    # Refused, it took nothing.
    assert _within(server, _counts) == seen
    _within(server, lambda connection: connection.execute(sa.text("DELETE FROM data_key")))
    for revision in [*_revisions()[-2::-1], "base"]:
        migrate.downgrade(server, revision)
    assert _within(server, _counts) == {}
    assert not set(_within(server, _functions)) & {name for name in functions if not name.startswith("gtrgm")}
    migrate.upgrade(server)
    assert _within(server, _differences) == []
    assert _within(server, _functions) == functions


def test_who_has_no_password_yet_gets_one_on_the_way_back_that_nobody_knows(server):
    migrate.upgrade(server)
    _within(
        server,
        lambda connection: [
            connection.execute(sa.text(statement))
            for statement in (
                "INSERT INTO tenant (id, name) VALUES ('invites', 'invites')",
                "INSERT INTO app_user (id, tenant_id, email, name, role)"
                " VALUES ('usr_invited', 'invites', 'n@example.com', 'N', 'viewer')",
            )
        ],
    )
    migrate.downgrade(server, "0026")
    hashed = sa.text("SELECT password_hash FROM app_user WHERE id = 'usr_invited'")
    kept = _within(server, lambda connection: connection.scalar(hashed))
    passwords = Passwords()
    assert asyncio.run(passwords.verified(kept, "")) is False
    passwords.close()
    _within(
        server,
        lambda connection: [
            connection.execute(sa.text("DELETE FROM app_user WHERE id = 'usr_invited'")),
            connection.execute(sa.text("DELETE FROM tenant WHERE id = 'invites'")),
        ],
    )
    migrate.upgrade(server)
