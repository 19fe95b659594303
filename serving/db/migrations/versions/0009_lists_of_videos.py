"""What lists of videos are sorted and filtered by; row-level security as in the first schema.

Row-level security lets an index be asked only by operators that leak nothing: comparisons do not, `@>` and `LIKE` may.
So a video's words, labels and metadata are rows of a table of their own, kept up by a trigger: whoever writes a video
need not think of them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

#: Words are runs of letters and digits; numbers are equal however they are written (7 and 7.0).
_FUNCTIONS = (
    r"""
    CREATE FUNCTION video_words(said text) RETURNS SETOF text LANGUAGE sql IMMUTABLE AS $$
        SELECT DISTINCT left(word, 100) FROM regexp_split_to_table(lower(said), '[^[:alnum:]]+') word WHERE word <> ''
    $$
    """,
    r"""
    CREATE FUNCTION video_metadata_value(name text, value jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
        SELECT md5(length(name) || ':' || name || CASE jsonb_typeof(value)
            WHEN 'number' THEN trim_scale((value #>> '{}')::numeric)::text ELSE value::text END)
    $$
    """,
    r"""
    CREATE FUNCTION video_keys(of_video video) RETURNS TABLE (kind text, value text) LANGUAGE sql AS $$
        SELECT 'word', word FROM video_words(of_video.title || ' ' || coalesce(of_video.filename, '')) word
        UNION SELECT 'label', label FROM unnest(of_video.labels) label
        UNION SELECT 'metadata', video_metadata_value(entry.key, entry.value)
            FROM jsonb_each(of_video.user_metadata) entry WHERE jsonb_typeof(entry.value) NOT IN ('object', 'array')
    $$
    """,
    r"""
    CREATE FUNCTION keep_video_keys() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM video_key WHERE video_id = NEW.id;
        INSERT INTO video_key (tenant_id, video_id, kind, value)
            SELECT NEW.tenant_id, NEW.id, found.kind, found.value FROM video_keys(NEW) found;
        RETURN NULL;
    END
    $$
    """,
)

_TRIGGER = """
CREATE TRIGGER keep_video_keys AFTER INSERT OR UPDATE OF title, filename, labels, user_metadata ON video
    FOR EACH ROW EXECUTE FUNCTION keep_video_keys()
"""

_POLICY = """
CREATE POLICY tenant ON video_key
    USING (tenant_id = current_setting('app.tenant', true) OR current_setting('app.tenant', true) = '*')
"""

#: Sorted by these: never unknown, and plain columns.
_SORTED = {"title": "lower(title)", "duration": "coalesce(duration_s, -1)"}


def upgrade() -> None:
    """Make them."""
    op.add_column("video", sa.Column("by_title", sa.Text(), sa.Computed(_SORTED["title"], persisted=True)))
    op.add_column("video", sa.Column("by_duration", sa.Float(), sa.Computed(_SORTED["duration"], persisted=True)))
    for name in ("updated_at", "by_title", "by_duration", "size_bytes"):
        op.create_index(f"ix_video_tenant_{name}", "video", ["tenant_id", name, "id"])
    op.create_index("ix_video_tenant_status", "video", ["tenant_id", "status", "created_at", "id"])
    op.create_table(
        "video_key",
        sa.Column("video_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        # Compared byte by byte, so that a beginning is a range.
        sa.Column("value", sa.Text(collation="C"), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("video_id", "kind", "value"),
    )
    op.create_index("ix_video_key_value", "video_key", ["tenant_id", "kind", "value", "video_id"])
    op.execute("ALTER TABLE video_key ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE video_key FORCE ROW LEVEL SECURITY")
    op.execute(_POLICY)
    for function in _FUNCTIONS:
        op.execute(sa.text(function.replace(":", r"\:")))
    op.execute(_TRIGGER)
    # What is there already, of every tenant.
    op.execute("SELECT set_config('app.tenant', '*', true)")
    op.execute(
        "INSERT INTO video_key (tenant_id, video_id, kind, value) "
        "SELECT video.tenant_id, video.id, found.kind, found.value FROM video, video_keys(video) found"
    )
    # They were never asked: see above.
    op.drop_index("ix_video_labels", "video")
    op.drop_index("ix_video_metadata", "video")
    # Without the tenant in front they also serve what is deleted with a video.
    op.drop_index("ix_job_video", "job")
    op.create_index("ix_job_video", "job", ["video_id", "created_at", "id"])
    op.drop_index("ix_job_batch", "job")
    op.create_index("ix_job_batch", "job", ["batch_id", "created_at", "id"], postgresql_where="batch_id IS NOT NULL")
    op.create_index("ix_job_tenant_state", "job", ["tenant_id", "state", "created_at", "id"])
    op.drop_index("ix_report_video", "report")
    op.create_index("ix_report_video", "report", ["video_id", "created_at"])
    op.add_column("job", sa.Column("timeout_s", sa.Float(), nullable=True))


def downgrade() -> None:
    """Drop them, and all that is in them."""
    op.drop_column("job", "timeout_s")
    op.drop_index("ix_report_video", "report")
    op.create_index("ix_report_video", "report", ["tenant_id", "video_id", "created_at"])
    op.drop_index("ix_job_tenant_state", "job")
    op.drop_index("ix_job_batch", "job")
    op.create_index("ix_job_batch", "job", ["tenant_id", "batch_id"])
    op.drop_index("ix_job_video", "job")
    op.create_index("ix_job_video", "job", ["tenant_id", "video_id"])
    op.create_index("ix_video_metadata", "video", ["user_metadata"], postgresql_using="gin")
    op.create_index("ix_video_labels", "video", ["labels"], postgresql_using="gin")
    op.execute("DROP TRIGGER keep_video_keys ON video")
    op.execute("DROP FUNCTION keep_video_keys()")
    op.execute("DROP FUNCTION video_keys(video)")
    op.execute("DROP FUNCTION video_metadata_value(text, jsonb)")
    op.execute("DROP FUNCTION video_words(text)")
    op.drop_table("video_key")
    op.drop_index("ix_video_tenant_status", "video")
    for name in ("updated_at", "by_title", "by_duration", "size_bytes"):
        op.drop_index(f"ix_video_tenant_{name}", "video")
    op.drop_column("video", "by_duration")
    op.drop_column("video", "by_title")
