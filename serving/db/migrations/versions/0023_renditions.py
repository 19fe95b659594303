"""Videos encoded anew for browsers, with row-level security as in 0016; what serving media has to know, with these."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_POLICY = """
CREATE POLICY tenant ON rendition USING (
    tenant_id = (SELECT current_setting('app.tenant', true)) OR (SELECT current_setting('app.tenant', true)) = '*'
)
"""

_GONE = "DROP FUNCTION tenant_media(text, text[])"

_MEDIA = """
CREATE FUNCTION tenant_media(of_tenant text, of_ids text[]) RETURNS TABLE (
    id text, tenant_id text, object_key text, size_bytes bigint, sha256 text, filename text, container text,
    codec text, duration_s double precision, updated_at timestamptz, created_at timestamptz,
    url_generation integer, tenant_url_generation integer,
    key_version integer, key_wrapped bytea, tenant_key_wrapped bytea, tenant_key_master text,
    made_object_key text, made_size_bytes bigint, made_sha256 text, made_at timestamptz,
    made_key_version integer, made_key_wrapped bytea, made_tenant_key_wrapped bytea, made_tenant_key_master text
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    -- For this statement's transaction only, as `Database.read` does it.
    PERFORM set_config('app.tenant', of_tenant, true);
    RETURN QUERY
    SELECT v.id, v.tenant_id, v.object_key, v.size_bytes, v.sha256, v.filename, v.container,
        v.codec, v.duration_s, v.updated_at, v.created_at,
        v.url_generation, t.url_generation,
        k.tenant_version, k.wrapped, b.wrapped, b.master,
        r.object_key, r.size_bytes, r.sha256, r.done_at, rk.tenant_version, rk.wrapped, rb.wrapped, rb.master
    FROM (SELECT * FROM video WHERE tenant_id = of_tenant AND id = ANY(of_ids)) AS v
    JOIN tenant AS t ON t.id = v.tenant_id
    LEFT JOIN data_key AS k ON k.object_key = v.object_key
    LEFT JOIN tenant_key AS b ON (b.tenant_id, b.version) = (k.tenant_id, k.tenant_version)
    LEFT JOIN rendition AS r ON r.video_id = v.id AND r.state = 'done'
    LEFT JOIN data_key AS rk ON rk.object_key = r.object_key
    LEFT JOIN tenant_key AS rb ON (rb.tenant_id, rb.version) = (rk.tenant_id, rk.tenant_version);
END
$$
"""

#: As 0018 has it.
_BEFORE = """
CREATE FUNCTION tenant_media(of_tenant text, of_ids text[]) RETURNS TABLE (
    id text, tenant_id text, object_key text, size_bytes bigint, sha256 text, filename text, container text,
    codec text, duration_s double precision, updated_at timestamptz, created_at timestamptz,
    url_generation integer, tenant_url_generation integer,
    key_version integer, key_wrapped bytea, tenant_key_wrapped bytea, tenant_key_master text
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    -- For this statement's transaction only, as `Database.read` does it.
    PERFORM set_config('app.tenant', of_tenant, true);
    RETURN QUERY
    SELECT v.id, v.tenant_id, v.object_key, v.size_bytes, v.sha256, v.filename, v.container,
        v.codec, v.duration_s, v.updated_at, v.created_at,
        v.url_generation, t.url_generation,
        k.tenant_version, k.wrapped, b.wrapped, b.master
    FROM (SELECT * FROM video WHERE tenant_id = of_tenant AND id = ANY(of_ids)) AS v
    JOIN tenant AS t ON t.id = v.tenant_id
    LEFT JOIN data_key AS k ON k.object_key = v.object_key
    LEFT JOIN tenant_key AS b ON (b.tenant_id, b.version) = (k.tenant_id, k.tenant_version);
END
$$
"""


def upgrade() -> None:
    """Nothing was encoded so far."""
    op.create_table(
        "rendition",
        sa.Column("video_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("code", "detail", "object_key", "sha256")),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        *(sa.Column(name, sa.Integer(), nullable=True) for name in ("width", "height")),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("video_id"),
    )
    op.create_index("ix_rendition_due", "rendition", ["tenant_id", "next_at"], postgresql_where="state = 'due'")
    op.create_index("ix_rendition_object_key", "rendition", ["object_key"])
    op.execute("ALTER TABLE rendition ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE rendition FORCE ROW LEVEL SECURITY")
    op.execute(_POLICY)
    op.execute(_GONE)
    op.execute(_MEDIA)


def downgrade() -> None:
    """Objects of renditions are swept, which nothing names any more."""
    op.execute(_GONE)
    op.drop_table("rendition")
    op.execute(_BEFORE)
