"""Backups: all that a server keeps, in a folder that tells nothing to who lacks the master key. See docs/backups.md."""
