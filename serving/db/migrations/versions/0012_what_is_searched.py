"""What is searched: vectors of moments and segments, stretches of tags, words; row-level security as in the first
schema.

Vectors need pgvector. An embedded database has it; in others a superuser makes it once, which this cannot do for them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from serving.db.vectors import Halfvec
from serving.errors import DatabaseMisconfigured

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TABLES = ("space", "moment", "segment_vector", "tag_span", "lexeme", "question")

_THERE = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
_MAY = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"

#: `halfvec` came with 0.7, scans that go on until enough is found with 0.8.
_AT_LEAST = (0, 8)

#: Words of other languages come through English stemming on both sides alike.
_FUNCTIONS = (
    """
    CREATE FUNCTION search_words(said text) RETURNS SETOF text LANGUAGE sql IMMUTABLE AS $$
        SELECT left(word, 100) FROM unnest(tsvector_to_array(to_tsvector('english'::regconfig, said))) word
    $$
    """,
    """
    CREATE FUNCTION keep_title_words() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM lexeme WHERE video_id = NEW.id AND source = 'title';
        INSERT INTO lexeme (tenant_id, video_id, source, word, start_s, end_s)
            SELECT DISTINCT NEW.tenant_id, NEW.id, 'title', word, -1, -1
            FROM search_words(regexp_replace(NEW.title || ' ' || coalesce(NEW.filename, ''), '[._/]+', ' ', 'g')) word;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION keep_tag_words() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO lexeme (tenant_id, video_id, source, word, start_s, end_s)
            SELECT NEW.tenant_id, NEW.video_id, 'tag:' || NEW.label, word, NEW.start_s, NEW.end_s
            FROM search_words(NEW.label) word
            ON CONFLICT (video_id, source, word, start_s) DO UPDATE SET end_s = greatest(lexeme.end_s, excluded.end_s);
        RETURN NULL;
    END
    $$
    """,
)

_TRIGGERS = (
    "CREATE TRIGGER keep_title_words AFTER INSERT OR UPDATE OF title, filename ON video "
    "FOR EACH ROW EXECUTE FUNCTION keep_title_words()",
    "CREATE TRIGGER keep_tag_words AFTER INSERT ON tag_span FOR EACH ROW EXECUTE FUNCTION keep_tag_words()",
)


def upgrade() -> None:
    """Make them. Raises DatabaseMisconfigured: the database has no pgvector that will do."""
    _require_pgvector()
    op.create_table(
        "space",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("space", sa.Text(), nullable=False),
        sa.Column("dim", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("scale", sa.Float(), nullable=False),
        sa.Column("bias", sa.Float(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.PrimaryKeyConstraint("tenant_id", "space"),
    )
    op.create_index("ix_space_active", "space", ["tenant_id"], unique=True, postgresql_where="state = 'active'")
    _of_videos("moment", "shot:i", "pts_s", "start_s", "end_s", "lot")
    op.create_index("ix_moment_lot", "moment", ["tenant_id", "space", "lot"])
    _of_videos("segment_vector", "start_s", "end_s", "thumbnail_s", "score")
    op.create_table(
        "tag_span",
        sa.Column("video_id", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("start_s", sa.Float(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("end_s", sa.Float(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("video_id", "label", "start_s"),
    )
    op.create_index("ix_tag_span_label", "tag_span", ["tenant_id", "label", "video_id"])
    op.create_table(
        "lexeme",
        sa.Column("video_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("word", sa.Text(collation="C"), nullable=False),
        sa.Column("start_s", sa.Float(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("end_s", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("video_id", "source", "word", "start_s"),
    )
    op.create_index("ix_lexeme_word", "lexeme", ["tenant_id", "word", "video_id"])
    op.create_table(
        "question",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("texts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("picture", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_question_open", "question", ["created_at"], postgresql_where="state = 'open'")
    op.create_index("ix_question_created_at", "question", ["created_at"])
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenant ON {table} USING "
            "(tenant_id = current_setting('app.tenant', true) OR current_setting('app.tenant', true) = '*')"
        )
    for function in _FUNCTIONS:
        op.execute(sa.text(function.replace(":", r"\:")))
    for trigger in _TRIGGERS:
        op.execute(trigger)
    # Titles of what is there already; its vectors come from reports, see `serving.search.catching_up`.
    op.execute("SELECT set_config('app.tenant', '*', true)")
    op.execute(
        "INSERT INTO lexeme (tenant_id, video_id, source, word, start_s, end_s) "
        "SELECT DISTINCT video.tenant_id, video.id, 'title', word, -1, -1 FROM video, "
        "search_words(regexp_replace(title || ' ' || coalesce(filename, ''), '[._/]+', ' ', 'g')) word"
    )


def downgrade() -> None:
    """Drop them, and all that is in them. The extension stays: whoever made it may have other uses for it."""
    op.execute("DROP TRIGGER keep_tag_words ON tag_span")
    op.execute("DROP TRIGGER keep_title_words ON video")
    for function in ("keep_tag_words()", "keep_title_words()", "search_words(text)"):
        op.execute(f"DROP FUNCTION {function}")
    for table in _TABLES[::-1]:
        op.drop_table(table)


def _of_videos(table: str, *columns: str) -> None:
    """A table with rows of videos in spaces, and their vectors."""
    op.create_table(
        table,
        sa.Column("video_id", sa.Text(), nullable=False),
        sa.Column("space", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        *(
            sa.Column(name.removesuffix(":i"), sa.Integer() if name.endswith(":i") else sa.Float(), nullable=False)
            for name in columns
        ),
        sa.Column("vector", Halfvec(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.ForeignKeyConstraint(["tenant_id", "space"], ["space.tenant_id", "space.space"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("video_id", "space", "position"),
    )
    op.create_index(f"ix_{table}_video", table, ["tenant_id", "space", "video_id", "position"])
    # In the row itself, which a scan reads anyway, and not elsewhere from 1,000 numbers on.
    op.execute(f"ALTER TABLE {table} ALTER COLUMN vector SET STORAGE PLAIN")


def _require_pgvector() -> None:
    connection = op.get_bind()
    found = connection.execute(sa.text(_THERE)).scalar()
    if found is None and connection.execute(sa.text(_MAY)).scalar():
        connection.execute(sa.text("CREATE EXTENSION vector"))
        found = connection.execute(sa.text(_THERE)).scalar()
    if found is None:
        raise DatabaseMisconfigured(
            "search needs pgvector in this database, which only a superuser can make: have one run "
            '"CREATE EXTENSION vector" there (pgvector 0.8 or later has to be installed), then upgrade again'
        )
    if tuple(int(part) for part in found.split(".")[:2]) < _AT_LEAST:
        raise DatabaseMisconfigured(
            f'search needs pgvector 0.8 or later, this database has {found}: have a superuser run "ALTER EXTENSION '
            'vector UPDATE" there'
        )
