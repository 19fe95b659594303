"""What is recommended: looks and the pairs of videos that share stretches; a vector for each video as a whole, and lots
of segments. Row-level security as in the first schema.

Vectors of videos are made here of the moments that are there. Looks are not to be had so: they are measured of frames,
and come with a video's next analysis.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from serving.db.vectors import Halfvec

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_TABLES = ("look", "video_looks", "video_copy", "video_vector")

#: The mean of each video's moments, the nearest of them, and its best segment.
_VECTORS = """
    INSERT INTO video_vector (tenant_id, video_id, space, start_s, end_s, thumbnail_s, score, vector)
    SELECT mean.tenant_id, mean.video_id, mean.space, mean.start_s, mean.end_s, near.pts_s, coalesce(best.score, 0),
        mean.vector
    FROM (
        SELECT tenant_id, video_id, space, min(start_s) AS start_s, max(end_s) AS end_s,
            l2_normalize(avg(vector)) AS vector
        FROM moment GROUP BY tenant_id, video_id, space
    ) mean CROSS JOIN LATERAL (
        SELECT pts_s FROM moment m WHERE m.video_id = mean.video_id AND m.space = mean.space
        ORDER BY m.vector <#> mean.vector, m.position LIMIT 1
    ) near LEFT JOIN LATERAL (
        SELECT max(score) AS score FROM segment_vector s WHERE s.video_id = mean.video_id AND s.space = mean.space
    ) best ON true
"""


def upgrade() -> None:
    """Make them, and the vectors of videos that are there."""
    _make_looks()
    _make_pairs()
    op.create_table(
        "video_vector",
        sa.Column("video_id", sa.Text(), nullable=False),
        sa.Column("space", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ("start_s", "end_s", "thumbnail_s", "score")),
        sa.Column("lot", sa.Float(), server_default=sa.text("random()"), nullable=False),
        sa.Column("vector", Halfvec(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.ForeignKeyConstraint(["tenant_id", "space"], ["space.tenant_id", "space.space"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("video_id", "space"),
    )
    op.create_index("ix_video_vector_video", "video_vector", ["tenant_id", "space", "video_id"])
    op.create_index("ix_video_vector_lot", "video_vector", ["tenant_id", "space", "lot"])
    op.add_column("segment_vector", sa.Column("lot", sa.Float(), server_default=sa.text("random()"), nullable=False))
    op.create_index("ix_segment_vector_lot", "segment_vector", ["tenant_id", "space", "lot"])
    for table in ("look", "video_vector"):
        # In the row itself, which a scan reads anyway; see 0012.
        op.execute(f"ALTER TABLE {table} ALTER COLUMN vector SET STORAGE PLAIN")
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenant ON {table} USING "
            "(tenant_id = current_setting('app.tenant', true) OR current_setting('app.tenant', true) = '*')"
        )
    op.execute("SELECT set_config('app.tenant', '*', true)")
    op.execute(_VECTORS)


def downgrade() -> None:
    """Drop them, and all that is in them."""
    op.drop_index("ix_segment_vector_lot", "segment_vector")
    op.drop_column("segment_vector", "lot")
    for table in _TABLES[::-1]:
        op.drop_table(table)


def _make_looks() -> None:
    op.create_table(
        "look",
        sa.Column("video_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("pts_s", sa.Float(), nullable=False),
        sa.Column("vector", Halfvec(147), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("video_id", "position"),
    )
    op.create_index("ix_look_video", "look", ["tenant_id", "video_id", "position"])
    op.create_table(
        "video_looks",
        sa.Column("video_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("blank_s", postgresql.ARRAY(sa.Float()), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("video_id"),
    )
    op.create_index("ix_video_looks_due", "video_looks", ["tenant_id", "next_at"], postgresql_where="state = 'due'")
    op.create_index("ix_video_looks_state", "video_looks", ["tenant_id", "state"])


def _make_pairs() -> None:
    op.create_table(
        "video_copy",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("first_id", sa.Text(), nullable=False),
        sa.Column("second_id", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ("first_share", "second_share", "likeness")),
        sa.Column("moments", sa.Float(), nullable=False),
        sa.Column("stretches", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.ForeignKeyConstraint(["first_id"], ["video.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["second_id"], ["video.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_video_copy_pair", "video_copy", ["first_id", "second_id"], unique=True)
    op.create_index("ix_video_copy_second", "video_copy", ["second_id"])
    op.create_index("ix_video_copy_moments", "video_copy", ["tenant_id", "moments", "id"])
    op.create_index("ix_video_copy_found_at", "video_copy", ["tenant_id", "found_at", "id"])
