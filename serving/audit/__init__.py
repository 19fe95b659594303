"""The audit log: every write, noted in its own transaction, and every refusal."""
