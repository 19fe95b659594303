"""Archives: all that is held about a video or a tenant, to be handed out and read back. See docs/archive-format.md."""
