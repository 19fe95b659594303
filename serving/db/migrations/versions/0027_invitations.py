"""Invitations to set a password, with row-level security as in 0005; people who have no password yet."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_POLICY = """
CREATE POLICY tenant ON invitation USING (
    tenant_id = (SELECT current_setting('app.tenant', true)) OR (SELECT current_setting('app.tenant', true)) = '*'
)
"""

#: Of zeros: a hash that no password is known to give.
_NOBODYS = f"$argon2id$v=19$m=65536,t=3,p=4${'A' * 22}${'A' * 43}"


def upgrade() -> None:
    """Nobody was invited so far."""
    op.create_table(
        "invitation",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.ForeignKeyConstraint(["user_id"], ["app_user.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id"),
        sa.UniqueConstraint("digest"),
    )
    op.execute("ALTER TABLE invitation ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE invitation FORCE ROW LEVEL SECURITY")
    op.execute(_POLICY)
    op.alter_column("app_user", "password_hash", nullable=True)


def downgrade() -> None:
    """Who has no password yet gets one that nobody knows; an administrator sets another."""
    op.execute("SELECT set_config('app.tenant', '*', true)")
    op.execute(f"UPDATE app_user SET password_hash = '{_NOBODYS}' WHERE password_hash IS NULL")
    op.alter_column("app_user", "password_hash", nullable=False)
    op.drop_table("invitation")
