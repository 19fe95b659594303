"""Vocabularies of tenants, and those that come with the server: `rows` keeps, `builtin` reads, `resolving` gives jobs
their labels."""
