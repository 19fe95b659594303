"""Functions that read rows of a tenant in one round trip, instead of one row."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_TOGETHER = """
CREATE FUNCTION tenant_{table}s(of_tenant text, of_ids text[]) RETURNS SETOF {table} LANGUAGE plpgsql AS $$
BEGIN
    -- For this statement's transaction only, as `Database.read` does it.
    PERFORM set_config('app.tenant', of_tenant, true);
    RETURN QUERY SELECT * FROM {table} WHERE tenant_id = of_tenant AND id = ANY(of_ids);
END
$$
"""

_ALONE = """
CREATE FUNCTION tenant_{table}(of_tenant text, of_id text) RETURNS SETOF {table} LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant', of_tenant, true);
    RETURN QUERY SELECT * FROM {table} WHERE tenant_id = of_tenant AND id = of_id;
END
$$
"""


def upgrade() -> None:
    """Make them."""
    for table in ("job", "video"):
        op.execute(f"DROP FUNCTION tenant_{table}(text, text)")
        op.execute(_TOGETHER.format(table=table))


def downgrade() -> None:
    """Back to reading one row at a time."""
    for table in ("job", "video"):
        op.execute(f"DROP FUNCTION tenant_{table}s(text, text[])")
        op.execute(_ALONE.format(table=table))
