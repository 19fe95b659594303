"""Tells tenants what happened at addresses of theirs: `delivery` sends, `signing` signs, `endpoints` is who is told."""
