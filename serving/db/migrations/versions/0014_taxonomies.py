"""Vocabularies that stand for a library: runs that tag it anew, what they find, what is said of it and learnt of that.
Tags in the tables that videos are found by say from whom they are, so that two may find the same."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_TABLES = ("tagging", "untagged", "phrase", "found_tags", "correction", "learning", "learned_label")

_KEEP_TAG_WORDS = """
    CREATE OR REPLACE FUNCTION keep_tag_words() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO lexeme (tenant_id, video_id, source, word, start_s, end_s)
            SELECT NEW.tenant_id, NEW.video_id, {source}, word, NEW.start_s, NEW.end_s
            FROM search_words(NEW.label) word
            ON CONFLICT (video_id, source, word, start_s) DO UPDATE SET end_s = greatest(lexeme.end_s, excluded.end_s);
        RETURN NULL;
    END
    $$
"""

_SYSTEM = "SELECT set_config('app.tenant', '*', true)"


def upgrade() -> None:
    """Make them."""
    op.execute(_SYSTEM)
    op.add_column("vocabulary", sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True))
    for table, key in (("video_tag", ("label",)), ("tag_span", ("label", "start_s"))):
        op.add_column(table, sa.Column("origin", sa.Text(), nullable=False, server_default=""))
        op.add_column(table, sa.Column("alias_of", sa.Text(), nullable=True))
        _key(table, "video_id", "origin", *key)
    op.execute("UPDATE lexeme SET source = 'tag::' || substr(source, 5) WHERE left(source, 4) = 'tag:'")
    _words("'tag:' || NEW.origin || ':' || NEW.label")
    _make_runs()
    _make_corrections()
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenant ON {table} USING "
            "(tenant_id = current_setting('app.tenant', true) OR current_setting('app.tenant', true) = '*')"
        )


def downgrade() -> None:
    """Drop them, with all that vocabularies found; what reports found stays."""
    op.execute(_SYSTEM)
    for table in _TABLES[::-1]:
        op.drop_table(table)
    op.execute("DELETE FROM lexeme WHERE left(source, 4) = 'tag:' AND left(source, 5) <> 'tag::'")
    for table, key in (("video_tag", ("label",)), ("tag_span", ("label", "start_s"))):
        op.execute(
            f"DELETE FROM lexeme USING {table} WHERE lexeme.video_id = {table}.video_id "
            f"AND lexeme.source = 'tag::' || {table}.label AND {table}.alias_of IS NOT NULL"
        )
        op.execute(f"DELETE FROM {table} WHERE origin <> '' OR alias_of IS NOT NULL")
        _key(table, "video_id", *key)
        op.drop_column(table, "alias_of")
        op.drop_column(table, "origin")
    op.execute("UPDATE lexeme SET source = 'tag:' || substr(source, 6) WHERE left(source, 5) = 'tag::'")
    _words("'tag:' || NEW.label")
    op.drop_column("vocabulary", "applied_at")


def _make_runs() -> None:
    op.create_table(
        "tagging",
        _text("id"),
        _text("tenant_id"),
        _text("vocabulary_id"),
        _text("reason"),
        _text("state"),
        _text("space", nullable=True),
        sa.Column("total", sa.Integer(), nullable=True),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in _COUNTS),
        _text("cursor"),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        _text("worker", nullable=True),
        _moment("lease_until", nullable=True),
        _moment("run_after"),
        _json("error", nullable=True),
        _moment("created_at"),
        _moment("started_at", nullable=True),
        _moment("finished_at", nullable=True),
        *_owned("vocabulary"),
        sa.PrimaryKeyConstraint("id"),
    )
    live = "state IN ('queued', 'running')"
    op.create_index("ix_tagging_claim", "tagging", ["run_after"], postgresql_where=live)
    op.create_index("ix_tagging_live", "tagging", ["vocabulary_id"], unique=True, postgresql_where=live)
    op.create_index("ix_tagging_tenant", "tagging", ["tenant_id", "id"])
    op.create_table(
        "untagged",
        _text("video_id"),
        _text("tenant_id"),
        _moment("run_after"),
        *_owned("video"),
        sa.PrimaryKeyConstraint("video_id"),
    )
    op.create_index("ix_untagged_due", "untagged", ["run_after"])
    op.create_table(
        "phrase",
        _text("tenant_id"),
        _text("space"),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        *_owned(),
        sa.ForeignKeyConstraint(["tenant_id", "space"], ["space.tenant_id", "space.space"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tenant_id", "space", "digest"),
    )
    op.create_table(
        "found_tags",
        _text("video_id"),
        _text("vocabulary_id"),
        _text("tenant_id"),
        _text("space"),
        _json("tags"),
        _text("stamp"),
        _moment("tagged_at"),
        *_owned("video", "vocabulary"),
        sa.PrimaryKeyConstraint("video_id", "vocabulary_id"),
    )
    op.create_index("ix_found_tags_vocabulary", "found_tags", ["vocabulary_id"])


def _make_corrections() -> None:
    op.create_table(
        "correction",
        _text("id"),
        _text("tenant_id"),
        _text("vocabulary_id", nullable=True),
        sa.Column("origin", sa.Text(), sa.Computed("coalesce(vocabulary_id, '')", persisted=True), nullable=True),
        _text("label"),
        _text("video_id"),
        sa.Column("from_s", sa.Float(), nullable=False),
        sa.Column("to_s", sa.Float(), nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        _moment("created_at"),
        _moment("judged_at"),
        *_owned("video", "vocabulary"),
        sa.PrimaryKeyConstraint("id"),
    )
    thing = ["video_id", "origin", "label", "from_s", "to_s"]
    op.create_index("ix_correction_thing", "correction", thing, unique=True)
    op.create_index("ix_correction_label", "correction", ["tenant_id", "origin", "label"])
    op.create_index("ix_correction_tenant", "correction", ["tenant_id", "id"])
    op.create_index("ix_correction_vocabulary", "correction", ["vocabulary_id"])
    op.create_table(
        "learning",
        _text("vocabulary_id"),
        _text("label"),
        _text("tenant_id"),
        _text("state"),
        _moment("changed_at"),
        sa.Column("asked", sa.Boolean(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        _moment("lease_until", nullable=True),
        _json("outcome", nullable=True),
        *_owned("vocabulary"),
        sa.PrimaryKeyConstraint("vocabulary_id", "label"),
    )
    op.create_index("ix_learning_due", "learning", ["changed_at"], postgresql_where="state <> 'done'")
    op.create_table(
        "learned_label",
        _text("id"),
        _text("tenant_id"),
        _text("vocabulary_id"),
        _text("label"),
        sa.Column("number", sa.Integer(), nullable=False),
        _text("space"),
        _text("basis"),
        _text("kind"),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=True),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        _json("before"),
        _json("after"),
        sa.Column("gained", sa.Integer(), nullable=False),
        sa.Column("lost", sa.Integer(), nullable=False),
        sa.Column("gained_videos", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("lost_videos", postgresql.ARRAY(sa.Text()), nullable=False),
        _moment("created_at"),
        _moment("undone_at", nullable=True),
        *_owned("vocabulary"),
        sa.PrimaryKeyConstraint("id"),
    )
    number = ["vocabulary_id", "label", "number"]
    op.create_index("ix_learned_label_number", "learned_label", number, unique=True)
    op.create_index("ix_learned_label_tenant", "learned_label", ["tenant_id", "vocabulary_id", "id"])


_COUNTS = ("done", "changed", "gained", "lost", "decodes", "texts")


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _json(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, postgresql.JSONB(astext_type=sa.Text()), nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    now = None if nullable else sa.text("now()")
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=now)


def _owned(*by: str) -> list[sa.ForeignKeyConstraint]:
    """Rows of a tenant, which go with the video or vocabulary that they are of."""
    keys = [sa.ForeignKeyConstraint([f"{one}_id"], [f"{one}.id"], ondelete="CASCADE") for one in by]
    return [sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]), *keys]


def _key(table: str, *columns: str) -> None:
    op.drop_constraint(f"{table}_pkey", table, type_="primary")
    op.create_primary_key(f"{table}_pkey", table, list(columns))


def _words(source: str) -> None:
    op.execute(sa.text(_KEEP_TAG_WORDS.format(source=source).replace(":", r"\:")))
