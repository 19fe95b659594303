"""Whose the store is, and objects that were swept, which no row may name any more; for the system only."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_SYSTEM = "(SELECT current_setting('app.tenant', true)) = '*'"

#: Every row that names an object has its key written in the same transaction. Whoever sweeps takes the same lock before
#: it looks whether anything names an object: so either it sees the row, or the row is refused.
_REFUSE = """
    CREATE FUNCTION refuse_swept_object() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(hashtextextended('object ' || NEW.object_key, 0));
        IF EXISTS (SELECT FROM swept_object WHERE object_key = NEW.object_key) THEN
            RAISE EXCEPTION 'the object % was swept, for nothing had named it', NEW.object_key USING ERRCODE = '40001';
        END IF;
        RETURN NEW;
    END $$
"""

_TRIGGER = """
    CREATE TRIGGER refuse_swept_object BEFORE INSERT ON data_key FOR EACH ROW
    WHEN (NEW.object_key NOT LIKE 'values/%') EXECUTE FUNCTION refuse_swept_object()
"""


def upgrade() -> None:
    """Make them. A store that is there is claimed by the first sweep."""
    op.create_table(
        "store_owner",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "swept_object",
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("object_key"),
    )
    for table in ("store_owner", "swept_object"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({_SYSTEM})")
    # The trigger looks as whoever writes the key.
    op.execute("CREATE POLICY looked_up ON swept_object FOR SELECT USING (true)")
    op.execute(_REFUSE)
    op.execute(_TRIGGER)


def downgrade() -> None:
    """Drop them; going up again, the next sweep claims the store."""
    op.execute("DROP TRIGGER refuse_swept_object ON data_key")
    op.execute("DROP FUNCTION refuse_swept_object()")
    op.drop_table("swept_object")
    op.drop_table("store_owner")
