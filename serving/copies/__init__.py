"""Copies: which videos of a tenant share stretches, found by what they look like."""
