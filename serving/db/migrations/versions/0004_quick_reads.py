"""Functions that read one row of a tenant in one round trip."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_FUNCTION = """
CREATE FUNCTION tenant_{table}(of_tenant text, of_id text) RETURNS SETOF {table} LANGUAGE plpgsql AS $$
BEGIN
    -- For this statement's transaction only, as `Database.read` does it.
    PERFORM set_config('app.tenant', of_tenant, true);
    RETURN QUERY SELECT * FROM {table} WHERE tenant_id = of_tenant AND id = of_id;
END
$$
"""


def upgrade() -> None:
    """Make them."""
    for table in ("job", "video"):
        op.execute(_FUNCTION.format(table=table))


def downgrade() -> None:
    """Drop them."""
    for table in ("job", "video"):
        op.execute(f"DROP FUNCTION tenant_{table}(text, text)")
