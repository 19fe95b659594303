"""Chains of the audit log; row-level security as in 0016."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_SET = "(SELECT current_setting('app.tenant', true))"

#: Table -> the column that says whose a row is.
_TABLES = {"audit_pending": "tenant_id", "audit_link": "chain", "audit_head": "chain"}


def upgrade() -> None:
    """Make them. Entries that are there have no tag; they are linked as they are, first of all."""
    op.add_column("audit", sa.Column("tag", sa.LargeBinary(), nullable=True))
    op.create_table(
        "audit_pending",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=True),
        sa.Column("tagged", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_audit_pending_order", "audit_pending", ["tagged", "id"])
    op.create_table(
        "audit_link",
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("chain", "number"),
    )
    op.create_index("ix_audit_link_id", "audit_link", ["id"], unique=True)
    op.create_table(
        "audit_head",
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.Column("chains", sa.BigInteger(), nullable=False),
        sa.Column("tagged", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("first_mac", sa.LargeBinary(), nullable=False),
        sa.Column("cleared", sa.DateTime(timezone=True), nullable=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("chain"),
    )
    op.create_table(
        "audit_key",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("master", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    policies = {table: f"{column} = {_SET} OR {_SET} = '*'" for table, column in _TABLES.items()}
    for table, policy in (policies | {"audit_key": f"{_SET} = '*'"}).items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({policy})")
    # Without it, policies show none of the entries, until this transaction ends.
    op.execute("SELECT set_config('app.tenant', '*', true)")
    op.execute("INSERT INTO audit_pending (id, tenant_id, tagged) SELECT id, tenant_id, false FROM audit")


def downgrade() -> None:
    """Drop them; entries stay."""
    for table in ("audit_key", *_TABLES):
        op.drop_table(table)
    op.drop_column("audit", "tag")
